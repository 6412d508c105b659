#!/usr/bin/env node
// Installs what the tests of this folder need into .moiety/tools, each where it can be had: seconds, and no rights.
import "./install-prometheus.mjs";
import "./install-hadolint.mjs";
import "./install-compose-spec.mjs";
