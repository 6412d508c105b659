import { ACTIVATION_CHOICES } from "@moiety/kernels";
import { InvalidArgumentError, Option } from "commander";

/** Parses an option that is an integer between two bounds, inclusive. */
export function integerBetween(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^\d+$/.test(text) && value >= min && value <= max) return value;
    throw new InvalidArgumentError(`Expected an integer from ${min} to ${max}.`);
  };
}

/** Parses an option that is a number between two bounds, inclusive. */
export function numberBetween(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() !== "" && value >= min && value <= max) return value;
    throw new InvalidArgumentError(`Expected a number from ${min} to ${max}.`);
  };
}

/** Parses an http or https URL, and drops a slash at its end. */
export function httpUrl(text: string): string {
  if (/^https?:\/\//.test(text) && URL.canParse(text)) return text.replace(/\/+$/, "");
  throw new InvalidArgumentError("Expected a URL that begins with http:// or https://.");
}

/** Parses where a folder of files is loaded from, as https://, http:// or s3://BUCKET, and drops a slash at its end. */
export function folderUrl(text: string): string {
  if (/^(https?|s3):\/\/[^/?#@\s][^?#@\s]*$/.test(text) && URL.canParse(text)) return text.replace(/\/+$/, "");
  throw new InvalidArgumentError(
    "Expected a URL that begins with https://, http:// or s3://, without a key, a query or a fragment.",
  );
}

/** Parses a number of bytes, such as 512, 4MiB or 2GB. */
export function byteCount(text: string): number {
  const [, digits, unit = ""] = /^(\d+)\s*([a-zA-Z]*)$/.exec(text) ?? [];
  const factor = UNITS.get(unit.toLowerCase());
  const value = Number(digits) * (factor ?? Number.NaN);
  if (Number.isSafeInteger(value) && value > 0) return value;
  throw new InvalidArgumentError("Expected a number of bytes such as 1000000, 512MiB or 5GB.");
}

const UNITS: ReadonlyMap<string, number> = new Map([
  ["", 1],
  ["b", 1],
  ["kb", 1e3],
  ["mb", 1e6],
  ["gb", 1e9],
  ["tb", 1e12],
  ["kib", 2 ** 10],
  ["mib", 2 ** 20],
  ["gib", 2 ** 30],
  ["tib", 2 ** 40],
]);

/** Parses a time such as 30m, 12h or 90d; gives milliseconds. */
export function durationMs(text: string): number {
  const [, digits, unit = ""] = /^(\d{1,9})([smhd])$/.exec(text) ?? [];
  const value = Number(digits) * (DURATIONS.get(unit) ?? Number.NaN);
  if (value > 0) return value;
  throw new InvalidArgumentError("Expected a time such as 30m, 12h or 90d.");
}

const DURATIONS: ReadonlyMap<string, number> = new Map([
  ["s", 1_000],
  ["m", 60_000],
  ["h", 3_600_000],
  ["d", 86_400_000],
]);

export const activationOption = () =>
  new Option(
    "--activation <type>",
    "number format of activations; int8: within MXFP4 experts; default: int8 where experts are MXFP4, else bf16",
  )
    .env("MOIETY_ACTIVATION")
    .choices(ACTIVATION_CHOICES);

export const kernelLevelOption = () =>
  new Option("--kernel-level <level>", "instruction set; default: the best of this CPU")
    .env("MOIETY_KERNEL_LEVEL")
    .choices(["scalar", "avx2", "avx512", "neon"]);

/** Parses an option that is a list of integers between two bounds, inclusive, separated by commas. */
export function integersBetween(min: number, max: number): (text: string) => readonly number[] {
  const one = integerBetween(min, max);
  return (text) => text.split(",").map(one);
}
