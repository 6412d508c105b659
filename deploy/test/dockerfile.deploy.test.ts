import { spawnSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { filesLetThrough } from "./docker-ignore.js";
import { commandOf, instructionsFor, lastOf, pairsOf, readDockerfile } from "./dockerfile.js";
import { findProgram } from "./program.js";
import { REPOSITORY, readText, VARIABLES } from "./repository.js";

const hadolint = findProgram("hadolint");
const file = readDockerfile("deploy/Dockerfile");
const services = readdirSync(`${REPOSITORY}services`);
/** What a build sees, relative to the root. */
const context = filesLetThrough(REPOSITORY, readText(".dockerignore"));

/** Where a path of an image comes from in the repository. */
function sourceOf(path: string): string {
  return /^\/app\/[^/]+\.mjs$/.test(path) ? path.replace("/app/", "deploy/image/") : path.replace("/app/", "");
}

/** What each COPY takes: from the context, or from an earlier stage. */
const copies = file.stages.flatMap(({ name, instructions }) =>
  instructions
    .filter((instruction) => instruction.name === "COPY")
    .map(({ text }) => {
      const words = text.split(" ").filter((word) => !word.startsWith("--"));
      return { stage: name, from: text.match(/--from=(\S+)/)?.[1], sources: words.slice(0, -1) };
    }),
);

describe.each([...services, "cli"])("the image of %s", (target) => {
  const instructions = instructionsFor(file, target);

  it("runs as a user that is a number other than that of root", () => {
    expect(lastOf(instructions, "USER")).toMatch(/^[1-9]\d*:[1-9]\d*$/);
    const stage = file.stages.find(({ name }) => name === target);
    expect(stage?.instructions.map(({ name }) => name)).not.toContain("RUN");
  });

  it("starts a file that exists, with no shell between, and is stopped by SIGTERM", () => {
    const [program, ...given] = commandOf(lastOf(instructions, "ENTRYPOINT"));
    expect(program).toBe("node");
    expect(given.at(-1)).toBe(`/app/${target === "cli" ? "packages/cli/bin/moiety.js" : `services/${target}/dist/main.js`}`);
    for (const path of given) expect(existsSync(REPOSITORY + sourceOf(path)), path).toBe(true);
    expect(lastOf(instructions, "STOPSIGNAL")).toBe("SIGTERM");
  });

  it("says what it is", () => {
    const labels = pairsOf(instructions, "LABEL");
    expect(labels["org.opencontainers.image.title"]).toBe(target === "cli" ? "moiety" : `moiety-${target}`);
    for (const key of ["description", "licenses", "version", "revision", "base.name"])
      expect(labels).toHaveProperty([`org.opencontainers.image.${key}`]);
  });
});

describe.each(services)("the image of %s", (target) => {
  const instructions = instructionsFor(file, target);

  it("asks a file that exists for its health", () => {
    const [program, script = "", path] = commandOf(lastOf(instructions, "HEALTHCHECK"));
    expect([program, path]).toEqual(["node", "/health"]);
    expect(existsSync(REPOSITORY + sourceOf(script))).toBe(true);
  });

  it("sets no variable that the service does not read", () => {
    const { NODE_ENV, ...variables } = pairsOf(instructions, "ENV");
    expect(NODE_ENV).toBe("production");
    expect(VARIABLES[target]).toEqual(expect.arrayContaining(Object.keys(variables)));
  });

  it("exposes the ports that it listens on", () => {
    const variables = pairsOf(instructions, "ENV");
    const metrics = VARIABLES[target]?.includes("MOIETY_METRICS_PORT") ? "8081" : undefined;
    const listened = [variables["MOIETY_HTTP_PORT"], metrics, variables["MOIETY_LISTEN_ADDRESS"]?.split(":")[1]].filter(Boolean);
    expect(instructions.flatMap(({ name, text }) => (name === "EXPOSE" ? [text] : []))).toEqual(listened);
  });
});

describe("the Dockerfile", () => {
  it.runIf(hadolint !== undefined)("has nothing that hadolint finds, and silences none of its rules", () => {
    const lint = (text: string) =>
      spawnSync(hadolint ?? "", ["--no-color", "-"], { cwd: REPOSITORY, input: text, encoding: "utf8" });
    const text = readText("deploy/Dockerfile");
    const { status, stdout, stderr } = lint(text);
    expect({ status, found: stdout + stderr }).toEqual({ status: 0, found: "" });
    expect(text).not.toContain("hadolint ignore");
    expect(lint(`${text}RUN cd /tmp\n`).stdout).toContain("DL3003");
  });

  it("copies from the repository only what is there and what .dockerignore lets through", () => {
    const wanted = copies.filter(({ from }) => from === undefined).flatMap(({ sources }) => sources);
    expect(wanted.length).toBeGreaterThan(5);
    for (const path of wanted)
      expect(
        context.some((each) => each === path || each.startsWith(`${path}/`)),
        `${path} is let through`,
      ).toBe(true);
  });

  it("is not given what was built or installed here, nor tests, nor what no stage copies", () => {
    expect(context.filter((path) => /(^|\/)(node_modules|dist|build|fixtures|\.moiety|\.git)\/|\.test\.ts$/.test(path))).toEqual(
      [],
    );
    const wanted = copies.filter(({ from }) => from === undefined).flatMap(({ sources }) => sources);
    expect(context.filter((path) => !wanted.some((each) => path === each || path.startsWith(`${each}/`)))).toEqual([]);
  });

  it("copies from stages that come before", () => {
    for (const { stage, from } of copies.filter((copy) => copy.from !== undefined)) {
      const order = file.stages.map(({ name }) => name);
      expect(order.slice(0, order.indexOf(stage)), `${stage} copies from it`).toContain(from);
    }
  });

  it("packs what the images copy", () => {
    const run = instructionsFor(file, "build").map(({ text }) => text);
    const packed = run.flatMap((text) => [...text.matchAll(/pack\.mjs (\S+) (\S+)/g)].map(([, from, to]) => ({ from, to })));
    const copied = copies.filter(({ from, stage }) => from === "build" && stage !== "build").flatMap(({ sources }) => sources);
    expect(packed.map(({ to }) => to).sort()).toEqual(copied.sort());
    for (const { from } of packed) expect(existsSync(`${REPOSITORY}${from}/package.json`)).toBe(true);
  });

  it("builds on images that a build may replace by others", () => {
    const names = file.stages.map(({ name }) => name);
    for (const { from } of file.stages.filter((stage) => !names.includes(stage.from))) {
      const [, key = ""] = from.match(/^\$\{(\w+)\}$/) ?? [];
      expect(file.args[key], from).toMatch(/^[a-z]+:\d[\w.-]+$/);
    }
  });

  it("refuses a release on images without a digest", () => {
    const check = instructionsFor(file, "runtime").find(({ name, text }) => name === "RUN" && text.includes("RELEASE"));
    const build = (given: Readonly<Record<string, string>>) => {
      const { status, stderr } = spawnSync("/bin/sh", ["-c", check?.text ?? ""], {
        env: { ...file.args, ...given },
        encoding: "utf8",
      });
      return { status, stderr };
    };
    const pinned = Object.fromEntries(
      Object.entries(file.args).map(([key, image]) => [key, `${image}@sha256:${"0".repeat(64)}`]),
    );
    expect(build({ RELEASE: "false" })).toEqual({ status: 0, stderr: "" });
    expect(build({ RELEASE: "true", ...pinned })).toEqual({ status: 0, stderr: "" });
    for (const key of Object.keys(file.args)) {
      const { status, stderr } = build({ RELEASE: "true", ...pinned, [key]: file.args[key] ?? "" });
      expect(status).toBe(1);
      expect(stderr).toContain(file.args[key]);
    }
  });
});
