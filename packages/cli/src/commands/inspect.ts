import { inspectCheckpoint, renderReport } from "@moiety/model";
import { Command } from "commander";

export interface InspectFlags {
  readonly json: boolean;
}

const EXAMPLES = `
Examples:
  $ moiety inspect ./gpt-oss-20b
  $ moiety inspect ./gpt-oss-20b --json | jq .parameters`;

/** `moiety inspect <checkpoint>`. */
export function inspectCommand(run: (folder: string, flags: InspectFlags) => Promise<void> = inspect): Command {
  return new Command("inspect")
    .summary("say what a checkpoint is and what it needs")
    .description(
      "Reads a checkpoint's headers and says its shape, its size, what each worker would hold, and what is wrong with it.",
    )
    .argument("<checkpoint>", "folder of the checkpoint")
    .option("--json", "print JSON", false)
    .addHelpText("after", EXAMPLES)
    .action(run);
}

async function inspect(folder: string, flags: InspectFlags): Promise<void> {
  const report = await inspectCheckpoint(folder);
  console.log(flags.json ? JSON.stringify(report, undefined, 2) : renderReport(report).trimEnd());
}
