import { vi } from "vitest";
import type { planCommand } from "../../packages/cli/src/commands/plan.js";

type Command = ReturnType<typeof planCommand>;

/** What a `moiety` command prints. @throws what it refuses with. */
export async function printed(command: Command, ...argv: readonly string[]): Promise<string> {
  const print = vi.spyOn(console, "log").mockImplementation(() => undefined);
  try {
    await command
      .exitOverride()
      .configureOutput({ writeErr: () => undefined })
      .parseAsync(argv, { from: "user" });
    return print.mock.calls.map(([text]) => String(text)).join("\n");
  } finally {
    print.mockRestore();
  }
}
