// Starts a child through the harness, prints its pid, and waits to be killed.
import { ManagedProcess } from "../dist/index.js";

const child = new ManagedProcess({ name: "sleep", file: "sleep", args: ["1000"], env: {} });
child.start();
process.stdout.write(`${child.pid}\n`);
setInterval(() => {}, 1_000);
