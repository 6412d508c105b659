import type { Socket } from "node:net";
import { AppError } from "@moiety/core";
import Fastify, { type FastifyInstance } from "fastify";
import type { Registry } from "prom-client";

/** Why a process is not ready; empty when it is. */
export type ReadinessProbe = () => readonly string[] | Promise<readonly string[]>;

/** Why a process has to be restarted, for it will not recover by itself; empty when it need not. */
export type LivenessProbe = () => readonly string[];

export interface ProcessServerOptions {
  readonly host: string;
  readonly port: number;
  readonly registry: Registry;
  readonly readiness: ReadinessProbe;
  /** Absent: a process that answers is alive. */
  readonly liveness?: LivenessProbe;
  /** Adds further routes. */
  readonly routes?: (app: FastifyInstance) => void;
}

export interface ProcessServer {
  readonly port: number;
  close(): Promise<void>;
}

export interface ProcessRoutesOptions {
  readonly readiness: ReadinessProbe;
  readonly liveness?: LivenessProbe;
  /** Absent: `/metrics` is served elsewhere. */
  readonly registry?: Registry;
}

/** Adds `/health`, `/ready` and `/metrics` to a server. */
export function addProcessRoutes(app: FastifyInstance, { liveness, readiness, registry }: ProcessRoutesOptions): void {
  app.get("/health", async (_request, reply) => {
    const faults = liveness?.() ?? [];
    return faults.length === 0 ? { status: "ok" } : reply.code(503).send({ status: "stuck", faults });
  });
  app.get("/ready", async (_request, reply) => {
    const missing = await probe(readiness);
    return reply.code(missing.length === 0 ? 200 : 503).send({ status: missing.length === 0 ? "ready" : "not ready", missing });
  });
  if (!registry) return;
  app.get("/metrics", async (_request, reply) => reply.type(registry.contentType).send(await registry.metrics()));
}

/** A probe that fails counts as not ready; its error may hold anything, so it stays inside. */
async function probe(readiness: ReadinessProbe): Promise<readonly string[]> {
  try {
    return await readiness();
  } catch {
    return ["the readiness probe failed"];
  }
}

/**
 * Hangs up, when a server closes, on clients that have connected and said nothing yet. Node takes them for busy, and closing would wait
 * for a request that may never come.
 */
export function dropSilentConnections(app: FastifyInstance): void {
  const open = new Set<Socket>();
  app.server.on("connection", (socket: Socket) => {
    open.add(socket);
    socket.once("close", () => open.delete(socket));
  });
  app.addHook("preClose", async () => {
    for (const socket of open) if (socket.bytesRead === 0) socket.destroy();
  });
}

/** The HTTP side of a process that has no other. */
export async function startProcessServer(options: ProcessServerOptions): Promise<ProcessServer> {
  const app = Fastify({ bodyLimit: 1024, requestTimeout: 10_000 });
  dropSilentConnections(app);
  addProcessRoutes(app, options);
  options.routes?.(app);
  try {
    await app.listen({ host: options.host, port: options.port });
  } catch (error) {
    throw new AppError("UNAVAILABLE", `cannot listen on ${options.host}:${options.port}: ${AppError.from(error).message}`, {
      cause: error,
    });
  }
  const address = app.server.address();
  return { port: typeof address === "object" && address !== null ? address.port : options.port, close: () => app.close() };
}
