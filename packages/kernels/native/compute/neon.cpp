// Empty until this level is written.
