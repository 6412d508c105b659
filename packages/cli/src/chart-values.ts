import { basename, resolve } from "node:path";

/** Values of the Helm chart in charts/moiety, or a part of them. */
export type ChartValue = string | number | readonly ChartValue[] | { readonly [key: string]: ChartValue };

/** What the API calls a model: the released one's name, else its folder's. */
export function modelNameOf(shapeName: string, folder: string): string {
  return shapeName.startsWith("gpt-oss-") ? shapeName : basename(resolve(folder));
}

/** Values as YAML for `helm install -f`, under lines of comment. Keys are the chart's own, and need no quotes. */
export function formatValues(comment: readonly string[], values: { readonly [key: string]: ChartValue }): string {
  // A name in the comment may hold a line break.
  const head = comment.flatMap((text) => text.split(/[\r\n\u0085\u2028\u2029]/)).map((line) => `# ${line}`.trimEnd());
  return [...head, ...linesOf(values)].join("\n");
}

function linesOf(values: { readonly [key: string]: ChartValue }): readonly string[] {
  return Object.entries(values).flatMap(([key, value]) => {
    // A JSON string or number is one of YAML.
    if (typeof value === "string" || typeof value === "number") return [`${key}: ${JSON.stringify(value)}`];
    return [`${key}:`, ...(isList(value) ? value.flatMap(itemOf) : linesOf(value)).map((line) => `  ${line}`)];
  });
}

function itemOf(value: ChartValue): readonly string[] {
  if (typeof value === "string" || typeof value === "number") return [`- ${JSON.stringify(value)}`];
  const lines = isList(value) ? value.flatMap(itemOf) : linesOf(value);
  return lines.map((line, index) => `${index === 0 ? "-" : " "} ${line}`);
}

function isList(value: ChartValue): value is readonly ChartValue[] {
  return Array.isArray(value);
}

/** A quantity of memory or storage that is enough for so many bytes, in whole gibibytes. */
export function gibibytes(bytes: number): string {
  return `${Math.max(1, Math.ceil(bytes / 2 ** 30))}Gi`;
}
