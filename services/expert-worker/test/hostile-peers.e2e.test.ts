import { connect } from "node:net";
import { Metadata, makeGenericClientConstructor, type ServerWritableStream } from "@grpc/grpc-js";
import { ERROR_CODES, parseWorkerId } from "@moiety/core";
import {
  AttentionRowClient,
  attentionRowService,
  DispatchRows,
  ExpertRowClient,
  ExpertServiceService,
  expertRowService,
  ResultRows,
  type Subscribe,
} from "@moiety/proto";
import { createServer, dataChannelOptions, insecureCredentials, listen } from "@moiety/runtime";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  ALL,
  EXPERTS,
  expectedRows,
  LAYERS,
  layerCall,
  PER_TOKEN,
  rowsBySlot,
  TestCluster,
  type TestWorker,
  until,
} from "./cluster.js";

const never = () => new AbortController().signal;
const rawBytes = { responseSerialize: (bytes: Buffer) => bytes, responseDeserialize: (bytes: Buffer) => bytes };
type RawStream = ServerWritableStream<Subscribe, Buffer>;

let cluster: TestCluster;
let good: TestWorker;
beforeEach(async () => {
  cluster = new TestCluster();
  good = await cluster.expert("good");
});
afterEach(() => cluster.close());

function randomBytes(length: number, seed: number): Buffer {
  const bytes = Buffer.alloc(length);
  let state = seed + 1;
  for (let index = 0; index < length; index += 1) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    bytes[index] = state >>> 24;
  }
  return bytes;
}

/** Writes bytes to a port and hangs up. */
async function throwAt(address: string, bytes: Buffer): Promise<void> {
  const { hostname, port } = new URL(`tcp://${address}`);
  await new Promise<void>((resolve) => {
    const socket = connect(Number(port), hostname, () => socket.end(bytes));
    const timer = setTimeout(() => socket.destroy(), 50);
    socket.on("error", () => {});
    socket.on("data", () => {});
    socket.on("close", () => {
      clearTimeout(timer);
      resolve();
    });
  });
}

/** An attention worker that sends whatever bytes it likes. Resolves once its link is open. */
async function hostileAttention(target: TestWorker) {
  let out: RawStream | undefined;
  const server = createServer();
  server.addService(
    { pull: { ...attentionRowService.pull, ...rawBytes } },
    {
      pull: (stream: RawStream) => {
        out = stream;
        stream.on("error", () => {});
        stream.sendMetadata(new Metadata());
      },
    },
  );
  const listening = await listen(server, "127.0.0.1:0");
  const client = new ExpertRowClient(target.worker.address, insecureCredentials(), dataChannelOptions);
  const answers: ResultRows[] = [];
  let ended = false;
  const subscriberAddress = `127.0.0.1:${listening.port}`;
  const stream = client.pull({
    linkId: `hostile-${listening.port}`,
    subscriberId: "hostile",
    subscriberAddress,
    model: cluster.model,
  });
  stream.on("data", (answer: ResultRows) => answers.push(answer));
  stream.on("error", () => {
    ended = true;
  });
  stream.on("end", () => {
    ended = true;
  });
  await until(() => out !== undefined);
  return {
    answers,
    ended: () => ended,
    send: (bytes: Buffer) => out?.write(bytes),
    close: async () => {
      stream.cancel();
      client.close();
      await listening.close();
    },
  };
}

/** An expert worker that opens its links properly and then answers with whatever bytes it likes. */
async function hostileExpert(reply: (call: DispatchRows) => readonly Buffer[]) {
  const clients: { close(): void }[] = [];
  const server = createServer();
  server.addService(
    { pull: { ...expertRowService.pull, ...rawBytes } },
    {
      pull: (results: RawStream) => {
        const { linkId, subscriberAddress } = results.request;
        const client = new AttentionRowClient(subscriberAddress, insecureCredentials(), dataChannelOptions);
        clients.push(client);
        results.on("error", () => {});
        const calls = client.pull({ linkId, subscriberId: "hostile", subscriberAddress: address, model: cluster.model });
        calls.on("metadata", () => results.sendMetadata(new Metadata()));
        calls.on("data", (call: DispatchRows) => {
          for (const bytes of reply(call)) results.write(bytes);
        });
        calls.on("error", () => {});
      },
    },
  );
  const listening = await listen(server, "127.0.0.1:0");
  const address = `127.0.0.1:${listening.port}`;
  const close = async () => {
    for (const client of clients) client.close();
    await listening.close();
  };
  return { worker: { id: parseWorkerId("hostile"), address }, close };
}

async function expectServed(): Promise<void> {
  const pool = await cluster.pool();
  const table = cluster.table([{ worker: good.worker, experts: ALL }], 1_000);
  good.worker.applyPlacement(table);
  pool.updatePlacement(table);
  await until(() => pool.missing().length === 0);
  const call = layerCall(5, cluster.rowBytes);
  expect(rowsBySlot(await pool.run(call, never()), cluster.rowBytes)).toEqual(expectedRows(call, cluster.rowBytes));
}

describe("an expert worker", () => {
  it("survives random bytes on its port, bare and after HTTP/2's preface", async () => {
    const preface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    for (let seed = 0; seed < 20; seed += 1) {
      await throwAt(good.worker.address, randomBytes(1 + seed * 97, seed));
      await throwAt(good.worker.address, Buffer.concat([preface, randomBytes(1 + seed * 97, seed)]));
    }
    await expectServed();
  });

  it("ends only the stream that carries bytes of no meaning", async () => {
    for (let seed = 0; seed < 12; seed += 1) {
      const peer = await hostileAttention(good);
      peer.send(randomBytes(1 + seed * 31, seed));
      peer.send(Buffer.from([0x0b]));
      await until(peer.ended);
      await peer.close();
    }
    await expectServed();
  });

  it("answers every well-formed call, right or wrong, and says what is wrong with it", async () => {
    good.worker.applyPlacement(cluster.table([{ worker: good.worker, experts: [0, 1, 2] }]));
    await until(() => good.worker.readyEpoch > 0);
    const peer = await hostileAttention(good);
    const calls = fc.sample(
      fc.record({
        epoch: fc.nat({ max: 3 }),
        layer: fc.nat({ max: LAYERS }),
        rowCount: fc.nat({ max: 3 }),
        pairs: fc.array(fc.tuple(fc.nat({ max: 3 }), fc.nat({ max: EXPERTS })), { maxLength: 7 }),
        missingPairs: fc.constantFrom(0, 0, 0, 1),
        missingBytes: fc.constantFrom(0, 0, 0, 1, 64),
      }),
      { numRuns: 1_000, seed: 7 },
    );
    calls.forEach(({ pairs, missingPairs, missingBytes, ...header }, index) => {
      const packed = Buffer.from(Uint16Array.from(pairs.flat()).buffer);
      const rows = Buffer.alloc(Math.max(0, header.rowCount * cluster.rowBytes - missingBytes));
      const pairCount = pairs.length + missingPairs;
      const message = DispatchRows.create({ ...header, callId: index + 1, pairCount, pairs: packed, rows });
      peer.send(Buffer.from(DispatchRows.encode(message).finish()));
    });
    await until(() => peer.answers.length === calls.length);
    expect(new Set(peer.answers.map(({ callId }) => callId)).size).toBe(calls.length);
    const allowed = [0, ERROR_CODES.INVALID_ARGUMENT, ERROR_CODES.FAILED_PRECONDITION];
    for (const { code, error } of peer.answers) {
      expect(allowed).toContain(code);
      expect(error === "").toBe(code === 0);
    }
    expect(new Set(peer.answers.map(({ code }) => code)).size).toBe(3);
    expect(peer.ended()).toBe(false);
    await peer.close();
    await expectServed();
  });

  it.each([
    ["link_id", { linkId: "" }],
    ["subscriber_id", { subscriberId: "no spaces" }],
    ["address", { subscriberAddress: "nowhere" }],
    ["model identity", { model: undefined }],
    ["hiddenSize", { model: { hiddenSize: 1 } }],
    ["kernelFamily", { model: { kernelFamily: "other" } }],
    ["activation", { model: { activation: 1 } }],
  ])("refuses a subscription with a wrong %s and says so", async (name, change) => {
    const client = new ExpertRowClient(good.worker.address, insecureCredentials(), dataChannelOptions);
    const model =
      "model" in change && change.model === undefined
        ? undefined
        : { ...cluster.model, ...("model" in change ? change.model : {}) };
    const request = { linkId: "x", subscriberId: "y", subscriberAddress: "127.0.0.1:1", ...change, model } as Subscribe;
    const stream = client.pull(request);
    const error = await new Promise<Error>((resolve) => stream.on("error", resolve).on("data", () => {}));
    expect(error.message).toContain(name);
    client.close();
  });

  it("refuses a subscription that is no message", async () => {
    const definition = { pull: { ...ExpertServiceService.pull, requestSerialize: (bytes: Buffer) => bytes } };
    const Client = makeGenericClientConstructor(definition as never, "raw");
    const client = new Client(good.worker.address, insecureCredentials(), {}) as never as ReturnType<typeof Object> & {
      pull(bytes: Buffer): NodeJS.EventEmitter;
      close(): void;
    };
    for (let seed = 0; seed < 10; seed += 1) {
      const stream = client.pull(Buffer.concat([Buffer.from([0x0a, 0xff]), randomBytes(20, seed)]));
      await new Promise((resolve) => stream.on("error", resolve).on("data", () => {}));
    }
    client.close();
    await expectServed();
  });
});

describe("a pool", () => {
  const replies: [string, (call: DispatchRows) => readonly Buffer[]][] = [
    ["bytes of no meaning", (call) => [randomBytes(50, call.callId), Buffer.from([0x0b])]],
    ["too few rows", (call) => [encode({ callId: call.callId, rowCount: 1, rows: Buffer.alloc(64) })]],
    ["rows of a wrong length", (call) => [encode({ callId: call.callId, rowCount: call.pairCount, rows: Buffer.alloc(7) })]],
    ["an error of its own", (call) => [encode({ callId: call.callId, code: ERROR_CODES.INTERNAL, error: "broken" })]],
    ["a code that does not exist", (call) => [encode({ callId: call.callId, code: ERROR_CODES.UNAVAILABLE, error: "" })]],
    ["answers to calls that nobody made", (call) => [encode({ callId: call.callId + 77 })]],
    ["nothing", () => []],
  ];
  const encode = (message: Partial<ResultRows>) => Buffer.from(ResultRows.encode(ResultRows.create(message)).finish());

  it.each(replies)("takes the replica's rows when a worker answers with %s", async (_name, reply) => {
    const hostile = await hostileExpert(reply);
    const pool = await cluster.pool({ limits: { callDeadlineMs: 200 } });
    const table = cluster.table([
      { worker: good.worker, experts: ALL },
      { worker: hostile.worker, experts: ALL },
    ]);
    good.worker.applyPlacement(table);
    pool.updatePlacement(table);
    await until(() => pool.missing().length === 0);
    for (let round = 1; round < 6; round += 1) {
      const call = layerCall(round * 4, cluster.rowBytes);
      expect(rowsBySlot(await pool.run(call, never()), cluster.rowBytes)).toEqual(expectedRows(call, cluster.rowBytes));
    }
    await hostile.close();
  });

  it("ignores a second answer to the same call", async () => {
    let duplicate = 0;
    const hostile = await hostileExpert((call) => {
      duplicate += 1;
      const rows = Buffer.alloc(call.pairCount * cluster.rowBytes, 9);
      const answer = encode({ callId: call.callId, rowCount: call.pairCount, rows });
      return [answer, answer];
    });
    const pool = await cluster.pool();
    pool.updatePlacement(cluster.table([{ worker: hostile.worker, experts: ALL }]));
    await until(() => pool.missing().length === 0);
    const result = await pool.run(layerCall(3, cluster.rowBytes), never());
    expect(rowsBySlot(result, cluster.rowBytes)).toHaveLength(3 * PER_TOKEN);
    await until(() => cluster.events.includes("ignored"));
    expect(duplicate).toBe(1);
    await hostile.close();
  });

  it("survives random bytes on its port, and subscriptions that it did not ask for", async () => {
    const pool = await cluster.pool();
    for (let seed = 0; seed < 20; seed += 1) await throwAt(pool.address, randomBytes(1 + seed * 97, seed));
    const client = new AttentionRowClient(pool.address, insecureCredentials(), dataChannelOptions);
    const request = { linkId: "guess", subscriberId: "x", subscriberAddress: "127.0.0.1:1", model: cluster.model };
    const error = await new Promise<Error>((resolve) =>
      client
        .pull(request)
        .on("error", resolve)
        .on("data", () => {}),
    );
    expect(error.message).toContain("no link of this id");
    client.close();
    const table = cluster.table([{ worker: good.worker, experts: ALL }]);
    good.worker.applyPlacement(table);
    pool.updatePlacement(table);
    const call = layerCall(5, cluster.rowBytes);
    expect(rowsBySlot(await pool.run(call, never()), cluster.rowBytes)).toEqual(expectedRows(call, cluster.rowBytes));
  });
});
