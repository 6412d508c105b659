import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { OWN_PYTHON, preparedPython, run } from "../programs.mjs";

const TESTS = fileURLToPath(new URL("python", import.meta.url));

/** The Python that MOIETY_PYTHON names, else one of our own or `python3`, if it has the official client. */
export function pythonWithClient() {
  const candidates = process.env.MOIETY_PYTHON ? [process.env.MOIETY_PYTHON] : [OWN_PYTHON, "python3"];
  return candidates.find((python) => spawnSync(python, ["-c", "import openai, pydantic"]).status === 0);
}

/** The command that runs every feature, and the environment that it needs. */
export function pythonCheck(python, { url, key }) {
  return {
    command: [python, "-B", "-m", "unittest", "discover", "--start-directory", TESTS, "--verbose"],
    env: { OPENAI_BASE_URL: `${url}/v1`, OPENAI_API_KEY: key },
  };
}

/** @returns {Promise<boolean>} whether every feature works */
export async function checkWithPython(subject) {
  const { command, env } = pythonCheck(await preparedPython(), subject);
  return (await run(command, { env })) === 0;
}
