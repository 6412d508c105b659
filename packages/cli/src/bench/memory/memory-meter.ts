/** What the gateway says of its memory, in bytes. */
export interface MemorySample {
  /** That were answered before. */
  readonly requests: number;
  readonly resident: number;
  /** Of JavaScript's heap, what had not been collected yet included. */
  readonly heapUsed: number;
  /** Outside of that heap, held by its objects. */
  readonly external: number;
}

const NAMES = {
  resident: "process_resident_memory_bytes",
  heapUsed: "nodejs_heap_size_used_bytes",
  external: "nodejs_external_memory_bytes",
} as const;

/** Asks a gateway for its memory. @throws Error when it does not say. */
export async function readMemory(url: string, requests: number): Promise<MemorySample> {
  const text = await (await fetch(`${url}/metrics`)).text();
  const of = (name: string) => {
    const found = new RegExp(`^${name}(?:\\{.*\\})? (\\S+)$`, "m").exec(text);
    if (!found) throw new Error(`the gateway has no metric ${name}`);
    return Number(found[1]);
  };
  return { requests, resident: of(NAMES.resident), heapUsed: of(NAMES.heapUsed), external: of(NAMES.external) };
}
