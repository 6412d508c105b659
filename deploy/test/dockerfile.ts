import { readText } from "./repository.js";

export interface Instruction {
  readonly name: string;
  /** All after the name, on one line. */
  readonly text: string;
}

export interface Stage {
  readonly name: string;
  /** An image or an earlier stage. */
  readonly from: string;
  readonly instructions: readonly Instruction[];
}

export interface Dockerfile {
  /** Values of the ARGs before the first stage. */
  readonly args: Readonly<Record<string, string>>;
  readonly stages: readonly Stage[];
}

/** Reads a Dockerfile as far as ours goes: no parser directives, no here-documents. @throws Error at what it does not know. */
export function readDockerfile(path: string): Dockerfile {
  const args: Record<string, string> = {};
  const stages: { name: string; from: string; instructions: Instruction[] }[] = [];
  for (const { name, text } of instructionsOf(readText(path))) {
    const stage = stages.at(-1);
    if (name === "FROM") {
      const [, from, as] = text.match(/^(\S+) AS (\S+)$/) ?? [];
      if (from === undefined || as === undefined) throw new Error(`FROM ${text}: expected an image and AS a name`);
      stages.push({ name: as, from, instructions: [] });
    } else if (stage !== undefined) {
      stage.instructions.push({ name, text });
    } else if (name === "ARG") {
      const [key = "", value = ""] = text.split("=");
      args[key] = value;
    } else throw new Error(`${name} before the first stage`);
  }
  return { args, stages };
}

function instructionsOf(text: string): Instruction[] {
  const lines = text.split("\n").filter((line) => !line.trimStart().startsWith("#"));
  return lines
    .join("\n")
    .replaceAll(/\\\n\s*/g, "")
    .split("\n")
    .filter((line) => line.trim() !== "")
    .map((line) => {
      const [, name, rest] = line.match(/^([A-Z]+) (.+)$/) ?? [];
      if (name === undefined || rest === undefined) throw new Error(`no instruction: ${line}`);
      return { name, text: rest };
    });
}

/** All that applies to an image that is built for `target`: of the stages that it is from, oldest first, and its own. */
export function instructionsFor(file: Dockerfile, target: string): readonly Instruction[] {
  const stage = file.stages.find(({ name }) => name === target);
  if (stage === undefined) return [];
  return [...instructionsFor(file, stage.from), ...stage.instructions];
}

/** What the last instruction of a name says. */
export function lastOf(instructions: readonly Instruction[], name: string): string {
  return instructions.findLast((instruction) => instruction.name === name)?.text ?? "";
}

/** The command of an ENTRYPOINT or HEALTHCHECK in exec form. */
export function commandOf(text: string): readonly string[] {
  return JSON.parse(text.slice(text.indexOf("["))) as readonly string[];
}

/** The values of all instructions of a name that hold key=value pairs: ENV, LABEL. */
export function pairsOf(instructions: readonly Instruction[], name: string): Readonly<Record<string, string>> {
  const text = instructions.flatMap((each) => (each.name === name ? [each.text] : [])).join(" ");
  return Object.fromEntries([...text.matchAll(/([\w.]+)=(?:"([^"]*)"|(\S+))/g)].map(([, key, a, b]) => [key, a ?? b]));
}
