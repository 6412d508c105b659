#!/usr/bin/env node
// Puts compose-spec into .moiety/tools, where the tests of compose files look for it: the program of the library by which Docker Compose reads,
// merges and validates them. Without Go it says so, and ends with 0.
import { addGoToPath, GO_FLAGS, goEnvironment } from "../../tools/setup/go-build.mjs";
import { install, lastLine, run } from "./install.mjs";

const MODULE = "github.com/compose-spec/compose-go/v2/cmd@v2.16.2";

addGoToPath();
install({
  programs: ["compose-spec"],
  origin: MODULE,
  unpack(folder) {
    const command = ["go", "install", ...GO_FLAGS, "-ldflags=-s -w", MODULE];
    const { status, stderr, error } = run(folder, command, { ...goEnvironment(), GOBIN: folder });
    if (error !== undefined) return "there is no Go";
    return status === 0 ? { "compose-spec": "cmd" } : lastLine(stderr);
  },
});
