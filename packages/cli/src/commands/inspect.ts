import { inspectCheckpoint, renderReport } from "@moiety/model";
import { Command, Option } from "commander";
import { folderUrl, integersBetween } from "../option-values.js";
import { formatDownloadValues } from "./download-values.js";
import { progressBar } from "./progress-bar.js";

export interface InspectFlags {
  readonly json: boolean;
  readonly shards?: readonly number[];
  readonly downloadFrom?: string;
}

const EXAMPLES = `
Examples:
  $ moiety inspect ./gpt-oss-20b
  $ moiety inspect ./gpt-oss-20b --shards 3              what each of three expert workers holds
  $ moiety inspect ./gpt-oss-120b --shards 4,8,16        several numbers of workers
  $ moiety inspect ./gpt-oss-20b --json | jq .parameters
  $ moiety inspect ./gpt-oss-20b --shards 3 --json | jq '.shards[0].bytes'
  $ moiety inspect ./gpt-oss-20b --download-from https://models.example.org/gpt-oss-20b > model.yaml     values for charts/moiety`;

/** `moiety inspect <checkpoint>`. */
export function inspectCommand(run: (folder: string, flags: InspectFlags) => Promise<void> = inspect): Command {
  return new Command("inspect")
    .summary("say what a checkpoint is and what it needs")
    .description(
      "Reads a checkpoint's headers and says its shape, its size, what each worker would hold, and what is wrong with it.",
    )
    .argument("<checkpoint>", "folder of the checkpoint")
    .option("--shards <counts>", "numbers of expert workers, separated by commas (default: 1,2,4,8)", integersBetween(1, 1_024))
    .option("--json", "print JSON", false)
    .addOption(
      new Option(
        "--download-from <url>",
        "print values for charts/moiety that download these files from there, with a SHA-256 of each; s3://BUCKET/KEY too",
      )
        .argParser(folderUrl)
        .conflicts(["json", "shards"]),
    )
    .addHelpText("after", EXAMPLES)
    .action(run);
}

async function inspect(folder: string, flags: InspectFlags): Promise<void> {
  const report = await inspectCheckpoint(folder, flags.shards === undefined ? {} : { shards: flags.shards });
  if (flags.downloadFrom !== undefined) {
    const bar = progressBar(process.stderr);
    const from = { folder, url: flags.downloadFrom, onProgress: bar.show };
    console.log(await formatDownloadValues(report, from).finally(() => bar.clear()));
    return;
  }
  console.log(flags.json ? JSON.stringify(report, undefined, 2) : renderReport(report).trimEnd());
}
