import { createServer } from "node:net";
import { expect, it } from "vitest";
import { checkPortIsFree, freePorts } from "./ports.js";

it("finds different ports", async () => {
  const ports = await freePorts(10);
  expect(new Set(ports).size).toBe(10);
});

it("says which port is in use and what to do", async () => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  await expect(checkPortIsFree("127.0.0.1", port)).rejects.toThrow(
    `cannot listen on 127.0.0.1:${port}: it is in use; choose another with --port`,
  );
  await new Promise((resolve) => server.close(resolve));
  await checkPortIsFree("127.0.0.1", port);
});
