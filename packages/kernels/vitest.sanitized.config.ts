import { mergeConfig } from "vitest/config";
import base from "../../vitest.config.js";

/** The tests on the addon in build/address; `make sanitized-tests` builds it and preloads the sanitizer's runtime. */
// biome-ignore lint/style/noDefaultExport: vitest wants one.
export default mergeConfig(base, {
  root: import.meta.dirname,
  plugins: [
    {
      name: "sanitized-addon",
      transform: (code: string) =>
        code.includes("../build/moiety_kernels.node") ? code.replaceAll("../build/", "../build/address/") : undefined,
    },
  ],
  test: { include: ["test/**/*.test.ts"], exclude: ["test/native.test.ts"], testTimeout: 120_000, maxWorkers: 1 },
});
