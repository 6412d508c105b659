import { AppError } from "@moiety/core";
import { Command, Option } from "commander";
import { z } from "zod";
import { httpUrl } from "../option-values.js";

/** Where the admin API is, and what opens it. */
export interface AdminFlags {
  readonly url: string;
  readonly adminKey?: string;
}

export interface AdminRequest {
  readonly method: "GET" | "POST" | "DELETE";
  /** Below `/admin/v1`. */
  readonly path: string;
  readonly body?: object;
}

const TIMEOUT_MS = 30_000;
const errorSchema = z.object({ error: z.object({ message: z.string() }) });

/** A command that asks the admin API. */
export function adminCommand(name: string, description: string): Command {
  return new Command(name)
    .description(description)
    .addOption(
      new Option("--url <url>", "base of the API, without /admin/v1")
        .env("MOIETY_URL")
        .default("http://127.0.0.1:8080")
        .argParser(httpUrl),
    )
    .addOption(
      new Option("--admin-key <key>", "the gateway's admin key; better given in the environment").env("MOIETY_ADMIN_KEY"),
    );
}

/** @throws AppError INVALID_ARGUMENT without a key; UNAVAILABLE when nobody answers, or with a fault of the gateway's; UNKNOWN with what else it says. */
export async function askAdmin({ url, adminKey }: AdminFlags, { method, path, body }: AdminRequest): Promise<Response> {
  if (adminKey === undefined) throw new AppError("INVALID_ARGUMENT", "expected the admin key in MOIETY_ADMIN_KEY");
  const headers = { authorization: `Bearer ${adminKey}`, ...(body ? { "content-type": "application/json" } : {}) };
  const response = await fetch(`${url}/admin/v1/${path}`, {
    method,
    headers,
    signal: AbortSignal.timeout(TIMEOUT_MS),
    ...(body ? { body: JSON.stringify(body) } : {}),
  }).catch((error: unknown) => {
    throw new AppError("UNAVAILABLE", `cannot reach ${url}; is a cluster running (moiety up)?`, { cause: error });
  });
  if (response.ok) return response;
  const fault = errorSchema.safeParse(await response.json().catch(() => undefined));
  const message = `${url} answered ${response.status}${fault.success ? `: ${fault.data.error.message}` : ""}`;
  throw new AppError(response.status >= 500 ? "UNAVAILABLE" : "UNKNOWN", message);
}

/** The answer, read by a schema. @throws AppError as {@link askAdmin} does, and UNKNOWN for an answer of another shape. */
export async function askAdminFor<Schema extends z.ZodType>(
  schema: Schema,
  flags: AdminFlags,
  request: AdminRequest,
): Promise<z.output<Schema>> {
  const answer = await askAdmin(flags, request);
  const parsed = schema.safeParse(await answer.json().catch(() => undefined));
  if (parsed.success) return parsed.data;
  throw new AppError("UNKNOWN", `${flags.url} answered with something that this version does not know`);
}

/** One line of output. */
export const tell = (line: string): boolean => process.stdout.write(`${line}\n`);
