import type { ServerDuplexStream } from "@grpc/grpc-js";
import { AppError, type Clock, ERROR_CODES, type WorkerId } from "@moiety/core";
import type { ControlServiceServer, RouterMessage, WorkerMessage, WorkerStatus } from "@moiety/proto";
import { type Logger, placementMessage } from "@moiety/runtime";
import type { MemberLink } from "./cluster.js";
import { parseHello } from "./introduction.js";
import type { Leadership, Term } from "./leadership.js";

export interface ControlServiceOptions {
  readonly leadership: Leadership;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly heartbeatIntervalMs: number;
  readonly heartbeatTimeoutMs: number;
  readonly maxStreams: number;
}

type JoinStream = ServerDuplexStream<WorkerMessage, RouterMessage>;

/** Messages that may wait to be written to a worker that does not read; beyond it, the stream is ended. */
const MAX_UNREAD_MESSAGES = 64;
const HELLO_TIMEOUT_MS = 5_000;
const MAX_FAULT_LENGTH = 1_024;

/** Speaks the control protocol and leaves every decision to the cluster. A standby refuses. */
export function createControlService(options: ControlServiceOptions): ControlServiceServer {
  let streams = 0;
  return {
    join: (stream: JoinStream) => {
      if (streams >= options.maxStreams) {
        refuse(stream, new AppError("RESOURCE_EXHAUSTED", `the router has its ${options.maxStreams} streams already`));
        return;
      }
      streams += 1;
      stream.once("close", () => {
        streams -= 1;
      });
      try {
        serve(stream, options.leadership.requireTerm(), options);
      } catch (error) {
        refuse(stream, AppError.from(error));
      }
    },
  };
}

/** `greeting`: nothing but Hello is expected. `member`: statuses are. `over`: nothing is heard any more. */
type StreamState = { readonly kind: "greeting" } | { readonly kind: "member"; readonly id: WorkerId } | { readonly kind: "over" };

function serve(stream: JoinStream, term: Term, options: ControlServiceOptions): void {
  const { leadership, clock, logger } = options;
  const { cluster, rowCounts } = term;
  let state: StreamState = { kind: "greeting" };
  const link = createLink(stream, { ...options, term: term.number }, (reason) => finish(reason));
  const finish = (reason?: AppError) => {
    if (state.kind === "over") return;
    const ended = state;
    state = { kind: "over" };
    helloTimer.abort();
    if (ended.kind === "member") cluster.end(link, ended.id, clock.monotonicMs());
    if (reason === undefined) stream.end();
    else refuse(stream, reason);
  };
  const receive = ({ message }: WorkerMessage) => {
    const nowMs = clock.monotonicMs();
    if (message?.$case === "hello" && state.kind === "greeting") {
      const introduction = parseHello(message.value);
      helloTimer.abort();
      leadership.election.hear(message.value.routerTerm);
      // It may have led until this very moment.
      if (leadership.requireTerm() !== term) throw new AppError("UNAVAILABLE", "this router has begun another term");
      cluster.join(link, introduction, nowMs);
      state = { kind: "member", id: introduction.profile.id };
    } else if (message?.$case === "status" && state.kind === "member") {
      const { loads, draining, ...report } = checkStatus(message.value);
      rowCounts.add(state.id, { loads, identity: cluster.identity, nowMs });
      cluster.report(link, state.id, { report, draining, nowMs });
    } else {
      throw new AppError("INVALID_ARGUMENT", "expected Hello first and only first, and then statuses");
    }
  };
  const helloTimer = new AbortController();
  clock.sleep(HELLO_TIMEOUT_MS, helloTimer.signal).then(
    () => finish(new AppError("DEADLINE_EXCEEDED", "no Hello in time")),
    () => {},
  );
  stream.on("data", (message: WorkerMessage) => {
    if (state.kind === "over") return;
    try {
      receive(message);
    } catch (error) {
      const reason = AppError.from(error);
      logger.warn({ code: reason.code, reason: reason.message, peer: stream.getPeer() }, "worker refused");
      finish(reason);
    }
  });
  stream.on("end", () => finish());
  stream.on("cancelled", () => finish());
  stream.on("error", () => finish());
}

interface LinkOptions extends Pick<ControlServiceOptions, "clock" | "heartbeatIntervalMs" | "heartbeatTimeoutMs"> {
  readonly term: number;
}

function createLink(stream: JoinStream, options: LinkOptions, finish: (reason: AppError) => void): MemberLink {
  const send = (message: RouterMessage["message"]) => {
    if (stream.writableLength >= MAX_UNREAD_MESSAGES) {
      options.clock.sleep(0).then(() => finish(new AppError("RESOURCE_EXHAUSTED", "the worker does not read what it is sent")));
    } else stream.write({ message });
  };
  const { heartbeatIntervalMs, heartbeatTimeoutMs, term } = options;
  return {
    welcome: () => send({ $case: "welcome", value: { heartbeatIntervalMs, heartbeatTimeoutMs, term } }),
    publish: (table) => send({ $case: "placement", value: placementMessage(table) }),
    drop: finish,
  };
}

function checkStatus(status: WorkerStatus): WorkerStatus {
  return status.fault.length <= MAX_FAULT_LENGTH ? status : { ...status, fault: `${status.fault.slice(0, MAX_FAULT_LENGTH)}…` };
}

function refuse(stream: JoinStream, reason: AppError): void {
  if (stream.cancelled || stream.destroyed) return;
  stream.emit("error", { code: ERROR_CODES[reason.code], details: reason.message });
}
