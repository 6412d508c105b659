import { describe, expect, it } from "vitest";
import { findProgram } from "../../deploy/test/program.js";
import { CHART, Helm } from "./helm.js";
import { EXAMPLES, FILE, LEAST } from "./value-sets.js";

const program = findProgram("helm");
const helm = new Helm(program ?? "helm");
const TRIAL = { redisForTrials: { enabled: true } };
const KEYS = { gateway: { apiKeys: { secretName: "own-keys" } } };

/** What helm prints after an installation. */
function notesOf(...values: readonly (string | object)[]): string {
  const command = ["install", "demo", CHART, "--namespace", "llm", "--dry-run=client"];
  const { status, stdout, stderr } = helm.run(command, ...values);
  expect(status, stderr).toBe(0);
  const [, notes = ""] = stdout.split("\nNOTES:\n");
  expect(notes).toContain("is being started as demo in llm");
  return notes;
}

const warningsIn = (notes: string) => notes.split("\n").filter((line) => line.startsWith("NOTE: "));
const warningsOf = (...values: readonly (string | object)[]) => warningsIn(notesOf(...values));

describe.runIf(program !== undefined)("what helm prints after an installation", { timeout: 120_000 }, () => {
  it("names the release's objects in commands that can be pasted, in one paragraph each", () => {
    const notes = notesOf(LEAST, { fullnameOverride: "mine", gateway: { service: { port: 8000 } }, startupTimeoutSeconds: 99 });
    expect(notes).toContain("kubectl -n llm rollout status deployment/mine-gateway --timeout=99s\n");
    expect(notes).toContain("kubectl -n llm port-forward service/mine-gateway 8080:8000 &\n");
    expect(notes).not.toMatch(/\n\n\n/);
  });

  it.each(EXAMPLES)("has no gap and no loose end with %s", (name) => {
    expect(notesOf(name)).not.toMatch(/\n\n\n|<no value>|%!/);
  });

  it("sends a key where one is asked for, and warns where none is", () => {
    const open = notesOf(LEAST);
    expect(open).not.toContain("authorization:");
    expect(warningsIn(open)).toEqual([expect.stringContaining("whoever reaches the gateway may use it")]);
    const issuer = { gateway: { config: { MOIETY_JWT_ISSUER: "https://id.example.org", MOIETY_JWT_AUDIENCE: "a" } } };
    for (const values of [KEYS, issuer]) {
      const notes = notesOf(LEAST, values);
      expect(notes).toContain('-H "authorization: Bearer $API_KEY" \\\n');
      expect(notes).not.toContain("/admin/v1");
      expect(warningsIn(notes).join()).not.toContain("may use it");
    }
  });

  it("says how the first key is made with an admin key", () => {
    const notes = notesOf(LEAST, { gateway: { adminKey: { secretName: "own-admin", secretKey: "the key" } } });
    const lines = notes.split("\n").map((line) => line.trim());
    const at = lines.findIndex((line) => line.startsWith("export MOIETY_ADMIN_KEY="));
    expect(lines.slice(at, at + 4)).toEqual([
      `export MOIETY_ADMIN_KEY=$(kubectl -n llm get secret own-admin -o go-template='{{index .data "the key" | base64decode}}')`,
      `curl -s http://127.0.0.1:8080/admin/v1/keys -H "authorization: Bearer $MOIETY_ADMIN_KEY" -H 'content-type: application/json' \\`,
      `-d '{"tenant": "first"}'`,
      "export API_KEY=...",
    ]);
    // The port must be forwarded before, and the key be there when the model is asked.
    expect(notes.indexOf("port-forward")).toBeLessThan(notes.indexOf("/admin/v1/keys"));
    expect(notes.indexOf("/admin/v1/keys")).toBeLessThan(notes.indexOf("/v1/chat/completions"));
  });

  it("warns that `helm test` needs a key, until it has one", () => {
    expect(warningsOf(LEAST, KEYS)).toEqual([expect.stringContaining("helmTest.secretName is empty")]);
    expect(warningsOf(LEAST, KEYS, { helmTest: { secretName: "own-test-key" } })).toEqual([]);
  });

  it("warns of gRPC ports that ask nobody, and only where they do not", () => {
    const open = { networkPolicy: { enabled: false }, helmTest: { secretName: "own-test-key" } };
    expect(warningsOf(LEAST, KEYS, open)).toEqual([expect.stringContaining("gRPC ports ask nobody who they are")]);
    const [withTls = "", ...others] = warningsOf(LEAST, KEYS, open, { tls: { enabled: true, secretName: "own-tls" } });
    expect(others).toEqual([]);
    expect(withTls).not.toContain("ask nobody");
    expect(withTls).toMatch(
      /every pod of the cluster may reach every port\. The gRPC ports ask for a certificate; \/metrics asks for nothing\.$/,
    );
  });

  it("warns of the Redis for trials, and of a downloaded model that one node alone can mount", () => {
    const warnings = (...values: readonly object[]) => warningsOf(TRIAL, KEYS, { helmTest: { secretName: "k" } }, ...values);
    expect(warnings()).toEqual([expect.stringContaining("redisForTrials has no TLS")]);
    const download = (accessMode: string) => ({ model: { source: "download", download: { files: [FILE], accessMode } } });
    expect(warnings(download("ReadWriteMany"))).toHaveLength(1);
    expect(warnings(download("ReadWriteOnce"))[1]).toMatch(/ReadWriteOnce: one node alone/);
    // A claim of another source is not the chart's.
    expect(warnings({ model: { download: { accessMode: "ReadWriteOnce" } } })).toHaveLength(1);
  });
});
