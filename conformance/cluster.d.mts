/** A served API to check. */
export interface Subject {
  /** Without `/v1`. */
  readonly url: string;
  readonly key: string;
  readonly model: string;
  /** Of a cluster of its own, where run.json is. */
  readonly dataDir?: string;
  stop(): Promise<void>;
}

/** The API that is named, by default in MOIETY_CONFORMANCE_URL (with MOIETY_CONFORMANCE_KEY), or a cluster of its own with the default model. */
export function openSubject(
  environment?: Readonly<Record<string, string>>,
  named?: { readonly url?: string; readonly key?: string },
): Promise<Subject>;
