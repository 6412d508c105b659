/** A served API to check. */
export interface Subject {
  /** Without `/v1`. */
  readonly url: string;
  readonly key: string;
  readonly model: string;
  stop(): Promise<void>;
}

/** The API that MOIETY_CONFORMANCE_URL names (with MOIETY_CONFORMANCE_KEY), or a cluster of its own with the default model. */
export function openSubject(environment?: Readonly<Record<string, string>>): Promise<Subject>;
