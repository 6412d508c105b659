/** Why no load test can run here; undefined when one can. */
export function whyNoK6(): string | undefined;
