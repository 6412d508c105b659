import { defineConfig } from "vitest/config";

const FOLDERS = ["packages", "services", "conformance", "deploy", "charts", "load-tests"];
const END_TO_END = "**/*.e2e.test.ts";
/** `npm run test:deploy`. */
const DEPLOYMENT = "**/*.deploy.test.ts";
const NOT_OURS = ["**/node_modules/**", "**/dist/**"];

export default defineConfig({
  resolve: { conditions: ["source"] },
  ssr: { resolve: { conditions: ["source"] } },
  test: {
    testTimeout: 20_000,
    pool: "forks",
    // One more than the two processors of a small machine: end-to-end tests wait much.
    maxWorkers: 3,
    projects: [
      {
        extends: true,
        test: {
          name: "unit",
          include: FOLDERS.map((folder) => `${folder}/**/*.test.ts`),
          exclude: [...NOT_OURS, END_TO_END, DEPLOYMENT],
          // A process for many files: to load the same modules for each takes longer than most tests.
          isolate: false,
        },
      },
      {
        extends: true,
        // Real processes on a machine that others use as well can miss a deadline: once more, and the report says so.
        test: { name: "end to end", include: FOLDERS.map((folder) => `${folder}/${END_TO_END}`), exclude: NOT_OURS, retry: 1 },
      },
      {
        extends: true,
        // No retry: what a rolling restart loses once is lost.
        test: { name: "deployment", include: FOLDERS.map((folder) => `${folder}/${DEPLOYMENT}`), exclude: NOT_OURS },
      },
    ],
  },
});
