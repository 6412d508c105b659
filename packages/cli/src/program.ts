import { AppError } from "@moiety/core";
import { Command } from "commander";
import { auditCommand } from "./commands/audit.js";
import { benchCommand } from "./commands/bench.js";
import { chatCommand } from "./commands/chat.js";
import { evalCommand } from "./commands/eval.js";
import { inspectCommand } from "./commands/inspect.js";
import { keysCommand } from "./commands/keys.js";
import { makeCheckpointCommand } from "./commands/make-checkpoint.js";
import { planCommand } from "./commands/plan.js";
import { serveCommand } from "./commands/serve.js";
import { tenantsCommand } from "./commands/tenants.js";
import { upCommand } from "./commands/up.js";
import { usageCommand } from "./commands/usage.js";

/** The `moiety` command with all of its commands. */
export function buildProgram(): Command {
  const program = new Command("moiety")
    .description("A distributed serving cluster for gpt-oss mixture-of-experts models, with the OpenAI API.")
    .version("0.1.0")
    .option("--verbose", "show where an error came from", false)
    .showHelpAfterError("(try --help)");
  for (const command of [
    upCommand(),
    serveCommand(),
    chatCommand(),
    inspectCommand(),
    makeCheckpointCommand(),
    evalCommand(),
    benchCommand(),
    planCommand(),
    keysCommand(),
    tenantsCommand(),
    usageCommand(),
    auditCommand(),
  ]) {
    program.addCommand(command.copyInheritedSettings(program));
  }
  return program;
}

/** Runs a command line. Faults are one clear message on stderr and exit code 1, with a stack only when --verbose is given. */
export async function run(argv: readonly string[]): Promise<void> {
  const program = buildProgram();
  // A reader that has enough, such as head, is no fault.
  process.stdout.on("error", (error: NodeJS.ErrnoException) => process.exit(error.code === "EPIPE" ? 0 : 1));
  try {
    await program.parseAsync(argv);
  } catch (error) {
    const text = describeError(error, program.opts()["verbose"] === true);
    // What a failed command left open, such as a server, must not keep the process.
    process.stderr.write(`${text}\n`, () => process.exit(1));
  }
}

/** What the terminal shows of an error. */
export function describeError(error: unknown, verbose: boolean): string {
  if (verbose && error instanceof Error) return `moiety: ${error.stack ?? error.message}${causeOf(error)}`;
  return `moiety: ${AppError.from(error).message}`;
}

function causeOf(error: Error): string {
  return error.cause instanceof Error ? `\ncaused by ${error.cause.stack ?? error.cause.message}` : "";
}
