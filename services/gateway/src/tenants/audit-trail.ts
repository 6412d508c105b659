import type { AppError } from "@moiety/core";
import type { FastifyRequest } from "fastify";
import type { Caller } from "../auth/authenticate.js";
import { toOpenAiError } from "../openai/errors.js";
import type { AuditLog } from "./audit-log.js";

interface Noted {
  readonly caller: Caller | undefined;
  readonly kind: string;
  readonly requestId: string;
  readonly status: number;
  readonly error: AppError | undefined;
}

/** Writes down the HTTP requests that are not written down where their tokens are counted. */
export class AuditTrail {
  readonly #log: Pick<AuditLog, "note">;
  readonly #admitted = new WeakSet<FastifyRequest>();
  readonly #callers = new WeakMap<FastifyRequest, Caller>();
  readonly #errors = new WeakMap<FastifyRequest, AppError>();

  constructor(log: Pick<AuditLog, "note">) {
    this.#log = log;
  }

  /** What an entry says of a request. */
  begin(request: FastifyRequest): { readonly kind: string; readonly requestId: string } {
    return { kind: `${request.method} ${request.routeOptions.url ?? "none"}`, requestId: request.id };
  }

  authenticated(request: FastifyRequest, caller: Caller): void {
    this.#callers.set(request, caller);
  }

  /** It will have an entry with its tokens. */
  admitted(request: FastifyRequest): void {
    this.#admitted.add(request);
  }

  failed(request: FastifyRequest, error: AppError): void {
    this.#errors.set(request, error);
  }

  /** The answer is sent, or its client is gone. */
  ended(request: FastifyRequest, status: number): void {
    if (this.#admitted.has(request)) return;
    const caller = this.#callers.get(request);
    this.#note({ ...this.begin(request), caller, status, error: this.#errors.get(request) });
  }

  /** A line of a batch was not let in. */
  denied(facts: Pick<Noted, "caller" | "kind" | "requestId">, error: AppError): void {
    this.#note({ ...facts, status: toOpenAiError(error).status, error });
  }

  #note({ caller, kind, requestId, status, error }: Noted): void {
    const fault = error && toOpenAiError(error).body.error;
    this.#log.note({
      tenant: caller?.tenant ?? "-",
      keyId: caller?.keyId ?? "-",
      ...(caller?.subject === undefined ? {} : { subject: caller.subject }),
      kind,
      requestId,
      status,
      ...(fault ? { code: fault.code ?? fault.type } : {}),
    });
  }
}
