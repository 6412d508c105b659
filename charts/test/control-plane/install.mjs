#!/usr/bin/env node
// Builds the programs of a control plane with Go into the user's cache, unless they are there. Needs nothing but Node and Go.
import { addGoToPath } from "../../../tools/setup/go-build.mjs";
import { StepError } from "../../../tools/setup/step.mjs";
import { preparePrograms } from "./programs.mjs";

addGoToPath();
try {
  await preparePrograms();
} catch (error) {
  if (!(error instanceof StepError)) throw error;
  console.error(`control plane: ${error.message}`);
  process.exit(1);
}
