import { AppError } from "@moiety/core";
import type { Command } from "commander";
import { afterEach, describe, expect, it, vi } from "vitest";
import { benchCommand } from "./commands/bench.js";
import { type ChatFlags, chatCommand } from "./commands/chat.js";
import { makeCheckpointCommand, shapeOf } from "./commands/make-checkpoint.js";
import { clusterOptionsOf, type UpFlags, upCommand } from "./commands/up.js";
import { welcome } from "./commands/welcome.js";
import { buildProgram, describeError } from "./program.js";

afterEach(() => vi.unstubAllEnvs());

/** What a command's action is called with. */
async function parse(make: (run: (...given: unknown[]) => Promise<void>) => Command, argv: string[]): Promise<unknown[]> {
  let seen: unknown[] = [];
  const command = make(async (...given) => {
    seen = given;
  });
  const silent = { writeErr: () => undefined, writeOut: () => undefined };
  await command.exitOverride().configureOutput(silent).parseAsync(argv, { from: "user" });
  return seen;
}

const parseUp = async (...argv: string[]) => (await parse(upCommand, argv))[0] as UpFlags;

describe("help", () => {
  const commands = buildProgram().commands.map((command) => [command.name(), command] as const);

  it("lists every command", () => {
    expect(commands.map(([name]) => name)).toEqual([
      "up",
      "serve",
      "chat",
      "inspect",
      "make-checkpoint",
      "eval",
      "bench",
      "plan",
      "keys",
    ]);
  });

  it.each(commands)("of %s says what it does and shows examples", (name, command) => {
    let help = "";
    command.configureOutput({ writeOut: (text) => (help += text) }).outputHelp();
    expect(help).toContain(`Usage: moiety ${name}`);
    expect(help).toMatch(/Examples.*:\n\s+\$/);
    expect(command.description()).not.toBe("");
  });
});

describe("moiety up", () => {
  it("has two expert workers, one attention worker and one gateway on port 8080 by default", async () => {
    const options = clusterOptionsOf(await parseUp(), "/models/default");
    expect(options).toMatchObject({ experts: 2, attention: 1, port: 8080, host: "127.0.0.1", replicas: 1, modelName: "default" });
  });

  it("takes the model from the environment, and a flag before that", async () => {
    vi.stubEnv("MOIETY_MODEL", "/from/environment");
    expect((await parseUp()).model).toBe("/from/environment");
    expect((await parseUp("--model", "/from/flag")).model).toBe("/from/flag");
  });

  it.each([
    [["--port", "0"], "Expected an integer from 1 to 65535"],
    [["--port", "80x"], "Expected an integer from 1 to 65535"],
    [["--experts", "-1"], "Expected an integer from 1 to 256"],
    [["--activation", "fp8"], "Allowed choices are auto, f32, bf16, int8"],
    [["--kernel-level", "sse"], "Allowed choices are scalar, avx2, avx512, neon"],
    [["--expert", "2"], "unknown option '--expert'"],
  ])("refuses %j and says what it expected", async (argv, message) => {
    await expect(parseUp(...argv)).rejects.toThrow(message);
  });

  it("refuses co-located experts with expert workers", async () => {
    const flags = await parseUp("--colocated", "--experts", "2");
    expect(() => clusterOptionsOf(flags, "/m")).toThrow("--colocated and --experts exclude each other");
  });

  it("refuses more replicas than expert workers", async () => {
    const flags = await parseUp("--replicas", "3");
    expect(() => clusterOptionsOf(flags, "/m")).toThrow("--replicas 3 needs as many expert workers, but --experts is 2");
  });

  it("shows a curl line that a shell reads as it was meant", () => {
    const options = { ...clusterOptionsOf({ ...UP_DEFAULTS, host: "0.0.0.0" }, "/models/it's"), modelName: "it's" };
    const facts = { options, seconds: 1, logDir: "/logs", hasKeys: true };
    expect(welcome({ ...facts, chats: false })).toContain("curl -N http://127.0.0.1:8080/v1/completions");
    const text = welcome({ ...facts, chats: true });
    expect(text).toContain("curl -N http://127.0.0.1:8080/v1/chat/completions");
    expect(text).toContain(`-H "Authorization: Bearer $KEY"`);
    expect(text).toContain(`-d '{"model":"it'\\''s",`);
  });
});

const UP_DEFAULTS: UpFlags = {
  port: 8080,
  host: "127.0.0.1",
  attention: 1,
  colocated: false,
  replicas: 1,
  dataDir: ".moiety",
};

describe("other commands", () => {
  it("make-checkpoint replaces only the sizes that were named", async () => {
    const [folder, flags] = await parse(makeCheckpointCommand, ["./x", "--layers", "2", "--heads", "4", "--shard-bytes", "4MiB"]);
    expect(folder).toBe("./x");
    expect(flags).toMatchObject({ like: "tiny", seed: 0, layout: "huggingface", bf16: false, shardBytes: 4_194_304 });
    expect(shapeOf(flags as Parameters<typeof shapeOf>[0])).toEqual({ layers: 2, queryHeads: 4 });
  });

  it("chat drops a slash at the end of the URL and can hide thoughts", async () => {
    const [flags] = (await parse(chatCommand, ["--url", "https://host/", "--no-reasoning"])) as [ChatFlags];
    expect(flags).toMatchObject({ url: "https://host", reasoning: false });
    await expect(parse(chatCommand, ["--url", "host:8080"])).rejects.toThrow("Expected a URL that begins with http");
  });

  it("bench takes several numbers of threads", async () => {
    const [names, flags] = await parse(benchCommand, ["kernels", "--threads", "1,4"]);
    expect(names).toEqual(["kernels"]);
    expect(flags).toMatchObject({ threads: [1, 4], json: false });
    await expect(parse(benchCommand, ["--threads", "2,2"])).rejects.toThrow("Expected different numbers");
  });
});

describe("describeError", () => {
  const error = new AppError("NOT_FOUND", "config.json: no such file", { cause: new Error("ENOENT") });

  it("is one line without a stack", () => {
    expect(describeError(error, false)).toBe("moiety: config.json: no such file");
  });

  it("has stack and cause when asked", () => {
    expect(describeError(error, true)).toMatch(/config\.json: no such file\n\s+at [\s\S]*caused by Error: ENOENT/);
  });
});
