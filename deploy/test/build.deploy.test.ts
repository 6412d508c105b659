import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { waitUntil } from "@moiety/testing";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readCompose, targetOf } from "./compose.js";
import { type ComposeProcess, ComposeRun } from "./compose-run.js";
import { whyNoContainers } from "./container.js";
import { readDockerfile } from "./dockerfile.js";
import { ImageBuild } from "./image-build.js";

const PATIENCE_MS = 120_000;
const BUILD_PATIENCE_MS = 3_600_000;
const TICKS_PER_SECOND = 100;
/** Both addons are compiled: minutes of processor time, which a run of a single file does not begin unasked. */
const isAsked = process.env["npm_lifecycle_event"] === "test:images";
const whyNot = isAsked ? whyNoContainers("kept") : "it is not asked for";
if (isAsked && whyNot !== undefined) console.log(`skipped: the images are not built: ${whyNot}`);

const file = readDockerfile("deploy/Dockerfile");
const ours = Object.entries(readCompose().services).flatMap(([name, service]) => {
  const target = targetOf(service);
  return target === undefined ? [] : [{ name, target }];
});
const workspaces = [...new Set(ours.map(({ target }) => `services/${target}`)), "packages/cli"];

/** Processor time of the processes that this one has started and that have ended. */
function childrenSeconds(): number {
  // Its second field may have spaces. Those after it are counted from 3.
  const fields = readFileSync("/proc/self/stat", "utf8")
    .replace(/^.*\) /, "")
    .split(" ");
  return (Number(fields[16 - 3]) + Number(fields[17 - 3])) / TICKS_PER_SECOND;
}

function filesBelow(folder: string): readonly string[] {
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => !entry.isDirectory())
    .map(({ parentPath, name }) => join(parentPath, name).slice(folder.length))
    .sort();
}

describe.runIf(whyNot === undefined)("the images, built as the Dockerfile says from what .dockerignore lets through", () => {
  let build: ImageBuild;
  let run: ComposeRun;
  const started = new Map<string, ComposeProcess>();

  beforeAll(async () => {
    build = new ImageBuild(file);
    run = new ComposeRun((target) => build.layersOf(target));
    const before = childrenSeconds();
    await build.run();
    console.log(`the images' build took ${(childrenSeconds() - before).toFixed(0)} s of processor time`);
    for (const { name } of ours) started.set(name, await run.start(name));
    await run.startRedis();
  }, BUILD_PATIENCE_MS);
  afterAll(async () => {
    await run.close();
    build.close();
  }, PATIENCE_MS);

  it("are built by every command of the Dockerfile, none of which installs a package of the system", () => {
    const all = file.stages.flatMap(({ instructions }) =>
      instructions.flatMap(({ name, text }) => (name === "RUN" ? [text] : [])),
    );
    expect(build.commands).toEqual(all);
    // Those would change this machine's own folders, of which nothing is kept: then they are to be named here.
    expect(all.filter((text) => /\b(apt|apt-get|dpkg|apk)\b/.test(text))).toEqual([]);
  });

  it("have the files that are packed of the working tree", { timeout: PATIENCE_MS }, async () => {
    const packed = new ComposeRun();
    try {
      await packed.pack(workspaces);
      for (const target of new Set([...ours.map((each) => each.target), "cli"])) {
        const image = build.layersOf(target).flatMap((layer) => filesBelow(join(layer, "app")));
        expect(image.sort(), target).toEqual(filesBelow(packed.app(target)));
      }
    } finally {
      await packed.close();
    }
  });

  it("have no compiler, source or cache of the build", () => {
    for (const target of ["gateway", "cli"])
      for (const layer of build.layersOf(target))
        for (const path of ["source", "target", "packed", "root", "usr"]) expect(existsSync(join(layer, path)), path).toBe(false);
  });

  it("become healthy", { timeout: PATIENCE_MS }, async () => {
    for (const [name, { process, isHealthy }] of started) {
      const hopes = { timeoutMs: 90_000, intervalMs: 500, describe: () => run.describe(), hopeless: () => !process.isAlive };
      await waitUntil(`${name} is healthy`, isHealthy, hopes);
    }
  });

  it("answer a question, by the kernels, in JSON that the grammar engine enforces", { timeout: PATIENCE_MS }, async () => {
    const schema = { type: "object", properties: { sum: { type: "integer" } }, required: ["sum"], additionalProperties: false };
    const response = await fetch(`http://${await run.addressOf("gateway:8080")}/v1/chat/completions`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({
        model: "moiety-tiny",
        messages: [{ role: "user", content: "What is 17 + 25?" }],
        temperature: 0,
        response_format: { type: "json_schema", json_schema: { name: "sum", strict: true, schema } },
      }),
    });
    const text = await response.text();
    expect(response.status, `${text}\n${run.describe()}`).toBe(200);
    const { choices } = JSON.parse(text) as { readonly choices: readonly { readonly message: { readonly content: string } }[] };
    expect(JSON.parse(choices[0]?.message.content ?? "")).toEqual({ sum: expect.any(Number) });
  });

  it("have a command that runs", () => {
    const { status, stdout, stderr } = run.run("cli", ["inspect", "/app/packages/cli/models/moiety-tiny"]);
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    expect(stdout).toContain("parameters");
  });

  it("end at SIGTERM with 0", { timeout: PATIENCE_MS }, async () => {
    for (const name of ["gateway", "attention-worker", "router"])
      expect(await started.get(name)?.process.terminate(45_000), name).toEqual({ code: 0, signal: undefined });
  });
});
