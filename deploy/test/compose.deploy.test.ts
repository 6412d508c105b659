import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { waitUntil } from "@moiety/testing";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readCompose, targetOf } from "./compose.js";
import { asImageUser, type ComposeProcess, ComposeRun, whyNoOwnFiles } from "./compose-run.js";
import { REPOSITORY, readText, VARIABLES } from "./repository.js";

const PATIENCE_MS = 120_000;
const { services, networks, volumes } = readCompose();
const ours = Object.entries(services).flatMap(([name, service]) => {
  const target = targetOf(service);
  return target === undefined ? [] : [{ name, target, ...service }];
});

describe.each(Object.entries(services))("the service %s", (name, service) => {
  it("may not change its file system, has no capability and can get none, and is not root", () => {
    expect(service.read_only).toBe(true);
    expect(service.tmpfs).toHaveLength(1);
    expect(service.cap_drop).toEqual(["ALL"]);
    expect(service.security_opt).toEqual(["no-new-privileges:true"]);
    // The images of ours have a user: dockerfile.deploy.test.ts.
    if (targetOf(service) === undefined) expect(service.user).toMatch(/^[1-9]\d*:\d+$/);
  });

  it("is reached from outside through the loopback interface at most", () => {
    for (const port of service.ports) expect(port).toMatch(/^127\.0\.0\.1:\d+:\d+$/);
    if (service.ports.length === 0) expect(service.networks.map((network) => networks[network]?.internal)).toEqual([true]);
  });

  it("mounts what exists", () => {
    for (const volume of service.volumes) {
      const source = typeof volume === "string" ? (volume.split(":")[0] ?? "") : volume.source;
      const exists = source.startsWith(".") ? existsSync(join(REPOSITORY, "deploy", source)) : source in volumes;
      expect(exists, `${name} mounts ${source}`).toBe(true);
    }
  });
});

describe.each(ours)(
  "the service $name",
  ({ target, image, build, environment, pull_policy, stop_grace_period, volumes: mounts }) => {
    it("is of an image that one service builds, of its target", () => {
      const builds = ours.flatMap((service) => (service.image === image && service.build !== undefined ? [service.build] : []));
      expect(builds).toEqual([{ context: "..", dockerfile: "deploy/Dockerfile", target }]);
      if (build === undefined) expect(pull_policy).toBe("never");
    });

    it("sets only variables that the process reads", () => {
      expect(VARIABLES[target]).toEqual(expect.arrayContaining(Object.keys(environment)));
    });

    it("has more time to stop than a drain takes", () => {
      expect(Number(stop_grace_period?.replace(/s$/, ""))).toBeGreaterThan(30);
    });

    it("mounts the model where it is read, and cannot write it", () => {
      const model = mounts.find((volume) => typeof volume !== "string" && volume.target === "/models/model");
      expect(model).toEqual(environment["MOIETY_MODEL"] === undefined ? undefined : expect.objectContaining({ read_only: true }));
    });
  },
);

describe("Redis", () => {
  it("keeps what it acknowledged over a restart, and drops nothing when it is full", () => {
    const settings = (services["redis"]?.command ?? []).join(" ");
    for (const setting of ["--appendonly yes", "--appendfsync everysec", "--maxmemory-policy noeviction", "--dir /data"])
      expect(settings).toContain(setting);
    expect(services["redis"]?.volumes).toContain("redis-data:/data");
  });
});

describe("what Prometheus and Grafana are given", () => {
  it("is scraped from every process, under its name", () => {
    const targets = [...readText("deploy/prometheus.yaml").matchAll(/- ([\w-]+):8080$/gm)].map(([, host]) => host);
    expect(targets.sort()).toEqual(ours.map(({ name }) => name).sort());
  });
});

describe("the cluster of the compose file, as processes of this machine", () => {
  let run: ComposeRun;
  const started = new Map<string, ComposeProcess>();

  beforeAll(async () => {
    run = new ComposeRun();
    await run.pack([...new Set(ours.map(({ target }) => `services/${target}`)), "packages/cli"]);
    // Gateway first and Redis last: no order is needed.
    for (const { name } of ours) started.set(name, await run.start(name));
    await run.startRedis();
  }, PATIENCE_MS);
  afterAll(() => run.close(), PATIENCE_MS);

  it("becomes healthy, each by its own check", { timeout: PATIENCE_MS }, async () => {
    const hopes = { timeoutMs: 60_000, intervalMs: 500, describe: () => run.describe() };
    for (const [name, { process, isHealthy }] of started)
      await waitUntil(`${name} is healthy`, isHealthy, { ...hopes, hopeless: () => !process.isAlive });
  });

  it("answers a question through the gateway", { timeout: PATIENCE_MS }, async () => {
    const response = await fetch(`http://${await run.addressOf("gateway:8080")}/v1/chat/completions`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ model: "moiety-tiny", messages: [{ role: "user", content: "What is 17 + 25?" }], temperature: 0 }),
    });
    const text = await response.text();
    expect(response.status, `${text}\n${run.describe()}`).toBe(200);
    expect(text).toContain("42");
  });

  it("stores a file in the volume of the gateway", { timeout: PATIENCE_MS }, async () => {
    const form = new FormData();
    form.append("purpose", "batch");
    form.append("file", new Blob(['{"custom_id":"a"}\n']), "lines.jsonl");
    const url = `http://${await run.addressOf("gateway:8080")}/v1/files`;
    const response = await fetch(url, { method: "POST", body: form });
    expect(response.status, `${await response.text()}\n${run.describe()}`).toBe(200);
  });

  it.runIf(whyNoOwnFiles === undefined).each(ours)(
    "runs $name as a user who has no capability, can get none, and may write /tmp and its volumes alone",
    ({ name, volumes: mounts }) => {
      const { pid } = started.get(name)?.process ?? {};
      const declared = mounts.flatMap((volume) => (typeof volume === "string" ? [volume.split(":")[1] ?? ""] : []));
      expect(writableOf(readFileSync(`/proc/${pid}/mounts`, "utf8"))).toEqual(["/tmp", ...declared]);
      const status = readFileSync(`/proc/${pid}/status`, "utf8");
      for (const line of ["Uid:\t10001\t10001\t10001\t10001", "Gid:\t10001\t", "NoNewPrivs:\t1", "CapBnd:\t0000000000000000"])
        expect(status).toContain(`\n${line}`);
      expect(readlinkSync(`/proc/${pid}/cwd`)).toBe(readlinkSync(`/proc/${pid}/root`).replace(/\/?$/, "/app"));
    },
  );

  it.runIf(whyNoOwnFiles !== undefined && asImageUser.length > 0)("can write nothing of its image", () => {
    const [file = "", ...args] = asImageUser;
    const writable = execFileSync(file, [...args, "find", run.folder, "-path", "*/app/*", "-writable", "-not", "-type", "l"]);
    expect(writable.toString()).toBe("");
  });

  it("is seen to be unhealthy when a process is gone", { timeout: PATIENCE_MS }, async () => {
    const router = started.get("router");
    await router?.process.kill();
    expect(router?.isHealthy()).toBe(false);
    router?.process.start();
    await waitUntil("the router is healthy", () => router?.isHealthy(), { timeoutMs: 30_000, describe: () => run.describe() });
  });

  it("stops at SIGTERM with nothing lost", { timeout: PATIENCE_MS }, async () => {
    for (const name of ["gateway", "attention-worker", "router"])
      expect(await started.get(name)?.process.terminate(45_000), name).toEqual({ code: 0, signal: undefined });
  });

  it("says what its configuration lacks, and ends with 1", { timeout: PATIENCE_MS }, () => {
    const { status, stderr } = run.run("expert-worker", []);
    expect(status).toBe(1);
    expect(stderr).toMatch(/^moiety: configuration is wrong:\n[\s\S]*MOIETY_WORKER_ID/);
    expect(stderr).not.toContain("at ");
  });

  it("has a command that runs with nothing but what was packed, as the user of the images", { timeout: PATIENCE_MS }, () => {
    const { status, stdout, stderr } = run.run("cli", ["inspect", "/app/packages/cli/models/moiety-tiny"]);
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    expect(stdout).toContain("parameters");
    for (const name of ["typescript", "vitest", "@moiety/testing"])
      expect(existsSync(join(run.app("cli"), "node_modules", name)), name).toBe(false);
  });

  it.runIf(whyNoOwnFiles === undefined)(
    "has a command whose image may write /tmp alone, and whose user is that of the others",
    () => {
      expect(writableOf(run.run("cli", ["/proc/self/mounts"], ["cat"]).stdout)).toEqual(["/tmp"]);
      expect(run.run("cli", [], ["id", "-u"]).stdout).toBe("10001\n");
      expect(run.run("cli", ["/app/new"], ["touch"]).stderr).toContain("Read-only file system");
    },
  );
});

/** What is mounted writable, of the text of a process's list of mounts; without the kernel's own and single devices. */
function writableOf(text: string): readonly string[] {
  const mounts = text.split("\n").map((line) => line.split(" "));
  return mounts.flatMap(([, target = "", , options = ""]) =>
    /^rw\b/.test(options) && target !== "/proc" && !target.startsWith("/dev/") ? [target] : [],
  );
}
