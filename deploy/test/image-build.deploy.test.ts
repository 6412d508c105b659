import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { whyNoContainers } from "./container.js";
import type { Dockerfile, Stage } from "./dockerfile.js";
import { ImageBuild } from "./image-build.js";

function stage(name: string, from: string, ...lines: readonly string[]): Stage {
  const instructions = lines.map((line) => ({ name: line.split(" ")[0] ?? "", text: line.slice(line.indexOf(" ") + 1) }));
  return { name, from, instructions };
}

describe.runIf(whyNoContainers("kept") === undefined)("a build without a container engine", () => {
  let build: ImageBuild;
  const run = (...stages: readonly Stage[]) => {
    const file: Dockerfile = { args: { FLAVOUR: "plain" }, stages };
    build = new ImageBuild(file);
    return build.run();
  };
  const read = (of: string, path: string) => readFileSync(join(build.folder, of, path), "utf8");
  afterEach(() => build.close());

  it("keeps what each stage writes, above what the stage has that it is from", async () => {
    await run(
      stage("first", "base", "RUN mkdir /made && echo one > /made/a && echo one > /made/b"),
      stage("second", "first", "RUN cat /made/a > /made/c && echo two > /made/b", "RUN rm /made/a && test ! -e /made/a"),
      stage("third", "second", "RUN test ! -e /made/a && cat /made/b /made/c > /all"),
    );
    expect(read("third", "all")).toBe("two\none\n");
    expect([read("first", "made/b"), read("second", "made/b")]).toEqual(["one\n", "two\n"]);
    expect(existsSync(join(build.folder, "third/made"))).toBe(false);
  });

  it("copies from the context and from stages, to where the Dockerfile says", async () => {
    await run(
      stage("first", "base", "RUN mkdir -p /made/deep && echo one > /made/deep/a"),
      stage(
        "second",
        "base",
        "WORKDIR /app/here",
        "COPY package.json LICENSE ./",
        "COPY --from=first /made made",
        "COPY --from=first /made/deep/a deep/b",
        "RUN cat made/deep/a deep/b > /app/both",
      ),
    );
    expect(read("second", "app/here/package.json")).toContain('"moiety"');
    expect(existsSync(join(build.folder, "second/app/here/LICENSE"))).toBe(true);
    expect(read("second", "app/both")).toBe("one\none\n");
  });

  it("gives a command the stage's variables, and nothing of the working tree", async () => {
    await run(
      stage("first", "base", "ARG FLAVOUR", "ARG SIZE=3", "ENV COLOUR=red", `RUN echo $FLAVOUR $SIZE $COLOUR > /all`),
      stage("second", "first", `RUN if [ -e ${import.meta.filename} ]; then exit 1; fi`),
    );
    expect(read("first", "all")).toBe("plain 3 red\n");
  });

  it("fails with what a command says, at what is not there, and at an instruction that it does not know", async () => {
    await expect(run(stage("only", "base", "RUN echo because >&2; exit 3"))).rejects.toThrow(/ended with 3:\nbecause/);
    build.close();
    await expect(run(stage("only", "base", "COPY docs docs"))).rejects.toThrow("/tmp/from/docs");
    build.close();
    await expect(run(stage("only", "base", "ADD LICENSE LICENSE"))).rejects.toThrow("ADD");
  });
});
