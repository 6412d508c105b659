#!/usr/bin/env node
// Checks of the served API by other people's code. Starts a cluster with the default model, unless MOIETY_CONFORMANCE_URL names an API.
import { checkWithPython } from "./clients/openai-python.mjs";
import { openSubject } from "./cluster.mjs";
import { fuzz } from "./fuzz/fuzz.mjs";
import { checkAsProvider } from "./provider/compatibility-test.mjs";

const USAGE = `Usage: npm run conformance -- <check> [options]

  python     every feature with the official Python client
  provider   OpenAI's compatibility test for providers of gpt-oss
             --cases 30        of its cases, evenly spread; --tries 1 of each; --streaming as well as not; --api chat, responses (both)
             --source URL      of the git repository, a local mirror's path as well
  fuzz       schemathesis on /openapi.json
             --requests 10000  at least; --seed 1; whatever follows -- is schemathesis's own

  MOIETY_CONFORMANCE_URL, MOIETY_CONFORMANCE_KEY   an API that runs already
  MOIETY_PYTHON                                    an interpreter that has what requirements.txt lists; else one is set up in .moiety

The official Node client is part of \`npm test\`, in conformance/clients.
`;

const CHECKS = { python: checkWithPython, provider: checkAsProvider, fuzz };

const [name = "", ...given] = process.argv.slice(2);
const check = CHECKS[name];
if (check === undefined) {
  console.error(USAGE);
  process.exit(name === "--help" ? 0 : 2);
}
const subject = await openSubject();
for (const signal of ["SIGINT", "SIGTERM"]) {
  process.once(signal, () => subject.stop().finally(() => process.exit(1)));
}
try {
  console.log(`conformance: ${name} of ${subject.model} at ${subject.url}`);
  process.exitCode = (await check(subject, given)) ? 0 : 1;
} finally {
  await subject.stop();
}
