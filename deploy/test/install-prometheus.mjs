#!/usr/bin/env node
// Puts prometheus and promtool into .moiety/tools, where the tests of rules and dashboards look for them: out of Debian's package, which takes
// seconds, needs no rights, and installs nothing else. Elsewhere it says so, and ends with 0.
import { readdirSync } from "node:fs";
import { install, lastLine, run } from "./install.mjs";

install({
  programs: ["prometheus", "promtool"],
  origin: "Debian's package",
  unpack(folder) {
    let downloaded = run(folder, ["apt-get", "download", "prometheus"]);
    if (downloaded.error !== undefined) return "there is no apt-get";
    if (downloaded.status !== 0) {
      // The lists of packages may be missing, as in an image.
      run(folder, ["apt-get", "update"]);
      downloaded = run(folder, ["apt-get", "download", "prometheus"]);
    }
    const file = readdirSync(folder).find((name) => name.endsWith(".deb"));
    if (file === undefined) return lastLine(downloaded.stderr);
    const unpacked = run(folder, ["dpkg-deb", "-x", file, "."]);
    if (unpacked.status !== 0) return unpacked.stderr;
    return { prometheus: "usr/bin/prometheus", promtool: "usr/bin/promtool" };
  },
});
