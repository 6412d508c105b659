import { cp, mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { GatewayFixture } from "./gateway-fixture.js";

const GOLDEN = fileURLToPath(new URL("../../../packages/testing/fixtures/golden/ckpt/A", import.meta.url));
const COMMIT = "0123456789abcdef0123456789abcdef01234567";

it("a model is told by its revision and the checksum of its weights, and its answers by a fingerprint", async () => {
  const cache = await mkdtemp(join(tmpdir(), "moiety-gateway-"));
  const folder = join(cache, "snapshots", COMMIT);
  await mkdir(folder, { recursive: true });
  await cp(GOLDEN, folder, { recursive: true });
  const fixture = await GatewayFixture.start("none", { MOIETY_MODEL: folder });
  try {
    const { body } = await fixture.request("/v1/models/tiny");
    expect(body).toMatchObject({ id: "tiny", object: "model", revision: COMMIT });
    expect(body.checksum).toMatch(/^sha256:[0-9a-f]{64}$/);
    expect((await fixture.request("/v1/models")).body.data).toEqual([body]);
    fixture.worker.script = () => ({ tokens: [1] });
    const fingerprint = `fp_${body.checksum.slice(7, 23)}`;
    const request = { prompt: [1], max_tokens: 1 };
    expect((await fixture.post("/v1/completions", request)).body.system_fingerprint).toBe(fingerprint);
    const chunks = await fixture.stream("/v1/completions", request);
    expect(chunks.map((chunk) => chunk.system_fingerprint)).toEqual(chunks.map(() => fingerprint));
  } finally {
    await fixture.close();
    await rm(cache, { recursive: true, force: true });
  }
});
