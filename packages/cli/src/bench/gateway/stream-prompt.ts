const BASE = 256;

/** A prompt that says which stream it is, so that both ends' times of one stream can be put together. */
export function promptOfStream(stream: number): readonly number[] {
  return [1, Math.floor(stream / BASE), stream % BASE];
}

export function streamOfPrompt(tokens: ArrayLike<number>): number {
  return (tokens[1] ?? 0) * BASE + (tokens[2] ?? 0);
}

/** Milliseconds of a clock that all processes of this machine share. */
export function nowMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}
