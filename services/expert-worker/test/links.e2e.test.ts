import { AppError } from "@moiety/core";
import { afterEach, describe, expect, it } from "vitest";
import { ALL, expectedRows, layerCall, rowsBySlot, standInModel, TestCluster, until } from "./cluster.js";

let cluster: TestCluster;
afterEach(() => cluster.close());

const never = () => new AbortController().signal;

describe("calls over links", () => {
  it("bring back one row for every slot, from several workers", async () => {
    cluster = new TestCluster();
    const [left, right] = [await cluster.expert("left"), await cluster.expert("right")];
    const pool = await cluster.pool();
    expect(pool.missing()).toEqual(["experts: no active placement was received yet"]);
    const table = cluster.table([
      { worker: left.worker, experts: [0, 1, 2, 3] },
      { worker: right.worker, experts: [4, 5, 6, 7] },
    ]);
    for (const target of [left.worker, right.worker]) target.applyPlacement(table);
    pool.updatePlacement(table);
    await until(() => pool.missing().length === 0);
    for (const rows of [1, 2, 17, 300]) {
      const call = layerCall(rows, cluster.rowBytes);
      const result = await pool.run(call, never());
      expect(rowsBySlot(result, cluster.rowBytes)).toEqual(expectedRows(call, cluster.rowBytes));
      expect(result.fanOut).toBeLessThanOrEqual(2);
      expect(result.timings.networkUs).toBeGreaterThan(0);
    }
  });

  it("wait for a worker, and read nothing more of a call that was cancelled meanwhile", async () => {
    cluster = new TestCluster();
    const { worker, engine } = await cluster.expert("only");
    const pool = await cluster.pool();
    const [given, cancelled] = [layerCall(9, cluster.rowBytes), layerCall(5, cluster.rowBytes)];
    const cancel = new AbortController();
    const result = pool.run(given, never());
    const refused = expect(pool.run(cancelled, cancel.signal)).rejects.toThrow("cancelled");
    expect(cluster.events).toContain("parked");
    cancel.abort();
    await refused;
    const table = cluster.table([{ worker, experts: ALL }]);
    worker.applyPlacement(table);
    pool.updatePlacement(table);
    expect(rowsBySlot(await result, cluster.rowBytes)).toEqual(expectedRows(given, cluster.rowBytes));
    const rowsSeen = engine.batches.flatMap(({ inputs }) => inputs.map(({ length }) => length / given.normed.length));
    expect(rowsSeen).toEqual([1]);
  });

  it("fail over to a replica with the same bytes when a worker goes away in the middle", async () => {
    cluster = new TestCluster();
    const [first, second] = [await cluster.expert("first"), await cluster.expert("second")];
    const pool = await cluster.pool();
    const table = cluster.table([first, second].map(({ worker }) => ({ worker, experts: ALL })));
    for (const { worker } of [first, second]) worker.applyPlacement(table);
    pool.updatePlacement(table);
    await until(() => pool.missing().length === 0);
    let open = () => {};
    first.engine.gate = new Promise((resolve) => {
      open = resolve;
    });
    const call = layerCall(40, cluster.rowBytes);
    const result = pool.run(call, never());
    await until(() => first.engine.batches.length > 0);
    const closing = first.worker.close();
    open();
    expect(rowsBySlot(await result, cluster.rowBytes)).toEqual(expectedRows(call, cluster.rowBytes));
    await closing;
    const again = await pool.run(call, never());
    expect(rowsBySlot(again, cluster.rowBytes)).toEqual(expectedRows(call, cluster.rowBytes));
    expect(again.fanOut).toBe(1);
  });

  it("ask a replica after the deadline, and ignore the late answer", async () => {
    cluster = new TestCluster();
    const [slow, fast] = [await cluster.expert("slow"), await cluster.expert("fast")];
    const pool = await cluster.pool({ limits: { callDeadlineMs: 100 } });
    const table = cluster.table([slow, fast].map(({ worker }) => ({ worker, experts: ALL })));
    for (const { worker } of [slow, fast]) worker.applyPlacement(table);
    pool.updatePlacement(table);
    await until(() => pool.missing().length === 0);
    let open = () => {};
    slow.engine.gate = new Promise((resolve) => {
      open = resolve;
    });
    const call = layerCall(40, cluster.rowBytes);
    const result = await pool.run(call, never());
    expect(rowsBySlot(result, cluster.rowBytes)).toEqual(expectedRows(call, cluster.rowBytes));
    expect(cluster.events).toContain("timed out");
    open();
    await until(() => cluster.events.includes("ignored"));
    expect(pool.missing()).toEqual([]);
  });

  it("go on waiting for a slow worker when nobody else has its experts", async () => {
    cluster = new TestCluster();
    const { worker, engine } = await cluster.expert("only");
    const pool = await cluster.pool({ limits: { callDeadlineMs: 50 } });
    const table = cluster.table([{ worker, experts: ALL }]);
    worker.applyPlacement(table);
    pool.updatePlacement(table);
    await until(() => pool.missing().length === 0);
    engine.gate = new Promise((resolve) => setTimeout(resolve, 300));
    const call = layerCall(3, cluster.rowBytes);
    expect(rowsBySlot(await pool.run(call, never()), cluster.rowBytes)).toEqual(expectedRows(call, cluster.rowBytes));
    expect(cluster.events).toContain("still waiting");
    expect(engine.batches).toHaveLength(1);
  });

  it("wait for a placement that the worker does not know yet", async () => {
    cluster = new TestCluster();
    const { worker } = await cluster.expert("only");
    const pool = await cluster.pool();
    const table = cluster.table([{ worker, experts: ALL }]);
    pool.updatePlacement(table);
    await until(() => pool.missing().length === 0);
    const call = layerCall(3, cluster.rowBytes);
    const result = pool.run(call, never());
    await until(() => cluster.events.includes("repeated FAILED_PRECONDITION"));
    worker.applyPlacement(table);
    expect(rowsBySlot(await result, cluster.rowBytes)).toEqual(expectedRows(call, cluster.rowBytes));
  });

  it("follow an expert that moved to another worker", async () => {
    cluster = new TestCluster();
    const [old, young] = [await cluster.expert("old", { MOIETY_EXPERT_DRAIN_MS: 0 }), await cluster.expert("young")];
    const pool = await cluster.pool();
    const before = cluster.table([{ worker: old.worker, experts: ALL }]);
    old.worker.applyPlacement(before);
    pool.updatePlacement(before);
    await until(() => pool.missing().length === 0);
    const after = cluster.table([{ worker: young.worker, experts: ALL }]);
    for (const { worker } of [old, young]) worker.applyPlacement(after);
    await until(() => old.engine.residentBytes === 0);
    const call = layerCall(5, cluster.rowBytes);
    const result = pool.run(call, never());
    await until(() => cluster.events.includes("repeated FAILED_PRECONDITION"));
    pool.updatePlacement(after);
    expect(rowsBySlot(await result, cluster.rowBytes)).toEqual(expectedRows(call, cluster.rowBytes));
  });

  it("are repeated when the worker's queue is full", async () => {
    cluster = new TestCluster();
    const { worker, engine } = await cluster.expert("only", { MOIETY_MAX_QUEUED_CALLS: 1 });
    const pool = await cluster.pool();
    const table = cluster.table([{ worker, experts: ALL }]);
    worker.applyPlacement(table);
    pool.updatePlacement(table);
    await until(() => pool.missing().length === 0);
    let open = () => {};
    engine.gate = new Promise((resolve) => {
      open = resolve;
    });
    const calls = [0, 1, 2].flatMap((layer) => [layerCall(4, cluster.rowBytes, layer), layerCall(5, cluster.rowBytes, layer)]);
    const results = calls.map((call) => pool.run(call, never()));
    await until(() => cluster.events.includes("repeated RESOURCE_EXHAUSTED"));
    open();
    for (const [index, call] of calls.entries()) {
      expect(rowsBySlot(await (results[index] ?? Promise.reject()), cluster.rowBytes)).toEqual(
        expectedRows(call, cluster.rowBytes),
      );
    }
  });

  it("of one layer are merged, whoever sent them", async () => {
    cluster = new TestCluster();
    const { worker, engine } = await cluster.expert("only");
    const pools = [await cluster.pool(), await cluster.pool(), await cluster.pool()];
    const table = cluster.table([{ worker, experts: ALL }]);
    worker.applyPlacement(table);
    for (const pool of pools) pool.updatePlacement(table);
    await until(() => pools.every((pool) => pool.missing().length === 0));
    let open = () => {};
    engine.gate = new Promise((resolve) => {
      open = resolve;
    });
    const calls = pools.map((_, index) => layerCall(4 + index, cluster.rowBytes));
    const first = pools[0]?.run(layerCall(1, cluster.rowBytes, 0), never());
    await until(() => engine.batches.length === 1);
    const results = pools.map((pool, index) => pool.run(calls[index] ?? layerCall(1, 64), never()));
    await new Promise((resolve) => setTimeout(resolve, 100));
    open();
    await first;
    for (const [index, result] of results.entries()) {
      const call = calls[index] ?? layerCall(1, 64);
      expect(rowsBySlot(await result, cluster.rowBytes)).toEqual(expectedRows(call, cluster.rowBytes));
    }
    expect(engine.batches.map(({ inputs }) => inputs.length)).toEqual([1, 3]);
  });

  it("that poison a merged batch spoil only themselves", async () => {
    cluster = new TestCluster();
    const { worker, engine } = await cluster.expert("only");
    const pools = [await cluster.pool(), await cluster.pool()];
    const table = cluster.table([{ worker, experts: ALL }]);
    worker.applyPlacement(table);
    for (const pool of pools) pool.updatePlacement(table);
    await until(() => pools.every((pool) => pool.missing().length === 0));
    engine.fault = ({ inputs }) =>
      inputs.some((input) => input.length === 7 * cluster.rowBytes) ? new AppError("INVALID_ARGUMENT", "seven rows") : undefined;
    engine.gate = new Promise((resolve) => setTimeout(resolve, 100));
    const blocker = pools[0]?.run(layerCall(1, cluster.rowBytes, 0), never());
    await until(() => engine.batches.length === 1);
    const good = layerCall(4, cluster.rowBytes);
    const results = await Promise.allSettled([
      pools[0]?.run(good, never()),
      pools[1]?.run(layerCall(7, cluster.rowBytes), never()),
    ]);
    await blocker;
    expect(results.map(({ status }) => status)).toEqual(["fulfilled", "rejected"]);
    expect(results[1]).toMatchObject({ reason: { code: "INTERNAL", retryable: false } });
  });

  it("are cancelled at once by their signal", async () => {
    cluster = new TestCluster();
    const { worker, engine } = await cluster.expert("only");
    const pool = await cluster.pool();
    const table = cluster.table([{ worker, experts: ALL }]);
    worker.applyPlacement(table);
    pool.updatePlacement(table);
    await until(() => pool.missing().length === 0);
    engine.gate = new Promise((resolve) => setTimeout(resolve, 200));
    const abort = new AbortController();
    const result = pool.run(layerCall(3, cluster.rowBytes), abort.signal);
    await until(() => engine.batches.length === 1);
    abort.abort();
    await expect(result).rejects.toMatchObject({ code: "CANCELLED" });
    const call = layerCall(3, cluster.rowBytes);
    expect(rowsBySlot(await pool.run(call, never()), cluster.rowBytes)).toEqual(expectedRows(call, cluster.rowBytes));
  });
});

describe("an expert worker", () => {
  it("says that it has to be restarted when an operation does not end, and not before", async () => {
    cluster = new TestCluster();
    const { worker, engine } = await cluster.expert("stuck", { MOIETY_STALL_MS: 60_000 });
    const health = async () => (await fetch(`http://127.0.0.1:${worker.httpPort}/health`)).status;
    engine.runningMs = 59_000;
    expect(await health()).toBe(200);
    engine.runningMs = 61_000;
    expect(await health()).toBe(503);
  });
});

describe("the metrics of an expert worker", () => {
  it("count calls, rows and the heat of every expert", async () => {
    cluster = new TestCluster();
    const { worker } = await cluster.expert("only");
    const pool = await cluster.pool();
    const table = cluster.table([{ worker, experts: ALL }]);
    worker.applyPlacement(table);
    pool.updatePlacement(table);
    await until(() => pool.missing().length === 0);
    const call = layerCall(3, cluster.rowBytes);
    await pool.run(call, never());
    await pool.run(call, never());
    const text = await (await fetch(`http://127.0.0.1:${worker.httpPort}/metrics`)).text();
    const value = (start: string) =>
      text
        .split("\n")
        .filter((line) => line.startsWith(start))
        .map((line) => Number(line.split(" ").at(-1)));
    expect(value("moiety_expert_calls_total")).toEqual([2]);
    expect(value("moiety_expert_rows_total")).toEqual([2 * call.expertIds.length]);
    const heat = value("moiety_expert_heat_rows_total{");
    expect(heat).toHaveLength(new Set(call.expertIds).size);
    expect(heat.reduce((sum, count) => sum + count, 0)).toBe(2 * call.expertIds.length);
    expect((await fetch(`http://127.0.0.1:${worker.httpPort}/ready`)).status).toBe(200);
  });
});

describe("a link", () => {
  it("is refused, with the field named, between processes of different models", async () => {
    cluster = new TestCluster();
    const other = { ...standInModel(), fingerprint: "0".repeat(64) };
    const { worker } = await cluster.expert("other", {}, other);
    const pool = await cluster.pool();
    const table = cluster.table([{ worker, experts: ALL }]);
    pool.updatePlacement(table);
    await until(() => pool.missing().some((reason) => /model identities differ in fingerprint/.test(reason)));
  });

  it("comes back after the worker restarted at the same address", async () => {
    cluster = new TestCluster();
    const { worker } = await cluster.expert("phoenix");
    const pool = await cluster.pool();
    const table = cluster.table([{ worker, experts: ALL }]);
    worker.applyPlacement(table);
    pool.updatePlacement(table);
    await until(() => pool.missing().length === 0);
    await worker.close();
    await until(() => pool.missing().length > 0);
    const call = layerCall(6, cluster.rowBytes);
    const result = pool.run(call, never());
    const again = await cluster.expert("phoenix", { MOIETY_LISTEN_ADDRESS: worker.address });
    again.worker.applyPlacement(table);
    expect(rowsBySlot(await result, cluster.rowBytes)).toEqual(expectedRows(call, cluster.rowBytes));
  });

  it("does not hang with many large messages in flight both ways", async () => {
    cluster = new TestCluster(2_880);
    const { worker } = await cluster.expert("only");
    const pool = await cluster.pool({ limits: { callDeadlineMs: 60_000, maxCallDeadlineMs: 60_000 } });
    const table = cluster.table([{ worker, experts: ALL }]);
    worker.applyPlacement(table);
    pool.updatePlacement(table);
    await until(() => pool.missing().length === 0);
    const calls = Array.from({ length: 24 }, (_, index) => layerCall(256, cluster.rowBytes, index % 3));
    const results = await Promise.all(calls.map((call) => pool.run(call, never())));
    const total = results.flatMap(({ parts }) => parts.map(({ rows }) => rows.length)).reduce((sum, length) => sum + length, 0);
    expect(total).toBe(24 * 256 * 2 * cluster.rowBytes);
    calls.forEach((call, index) => {
      const rows = rowsBySlot(results[index] ?? { parts: [] }, cluster.rowBytes);
      const same = expectedRows(call, cluster.rowBytes).every(
        (row, slot) => Buffer.compare(row, rows[slot] ?? Buffer.alloc(0)) === 0,
      );
      expect(same).toBe(true);
    });
  }, 60_000);
});
