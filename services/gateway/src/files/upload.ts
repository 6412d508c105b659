import type { Readable } from "node:stream";
import { AppError } from "@moiety/core";
import { type FileRecord, newFileId } from "@moiety/queue";
import type { FastifyRequest } from "fastify";
import { z } from "zod";
import type { BatchService } from "../batches/batch-service.js";
import type { GatewayContext } from "../gateway-context.js";
import { parseBody } from "../openai/request-fields.js";
import { contentName, fileFolder, UPLOAD_PURPOSES, UPLOADED } from "./stored-file.js";

const DAY_MS = 86_400_000;
/** As OpenAI's API has it: inputs of batches go after a while, other files stay. */
const BATCH_LIFE_MS = 30 * DAY_MS;
const MAX_NAME = 256;

/** When a file goes, of those who say so: an hour to 30 days after it was made. */
export const expiresAfterFields = {
  anchor: z.literal("created_at", 'expected "created_at"'),
  seconds: z.coerce
    .number("expected 3600 to 2592000")
    .int()
    .min(3_600, "expected 3600 to 2592000")
    .max(2_592_000, "expected 3600 to 2592000"),
};

/** The fields of an upload, beside `file`. */
export const uploadSchema = z.object({
  purpose: z.enum(UPLOAD_PURPOSES, { error: `expected one of ${UPLOAD_PURPOSES.join(", ")}` }),
  expires_after: z.object(expiresAfterFields).optional(),
});

interface StoredPart {
  readonly name: string;
  readonly bytes: number;
}

/** Takes a multipart form with a file into the store. @throws AppError; nothing is kept then. */
export async function receiveFile(context: GatewayContext, service: BatchService, request: FastifyRequest): Promise<FileRecord> {
  if (!request.isMultipart()) {
    const details = { httpStatus: 415, openaiCode: "unsupported_media_type" };
    throw new AppError("INVALID_ARGUMENT", "expected a body of content-type multipart/form-data", { details });
  }
  const { config, clock } = context;
  const { ledgers, store } = service;
  const tenant = context.tenantOf(request);
  const limits = { files: config.MOIETY_MAX_FILES, bytes: config.MOIETY_MAX_FILES_BYTES };
  const id = newFileId();
  await ledgers.patiently(ledgers.files.reserve({ id, tenant, nowMs: clock.nowMs(), limits }));
  try {
    const { file, fields } = await readForm(request, (stream) => store.put(contentName(id, UPLOADED), stream));
    if (file === undefined) throw new AppError("INVALID_ARGUMENT", "file: expected a file", { details: { param: "file" } });
    const form = parseBody(uploadSchema, fields);
    const createdAtMs = clock.nowMs();
    const lifeMs = form.expires_after ? form.expires_after.seconds * 1_000 : form.purpose === "batch" ? BATCH_LIFE_MS : undefined;
    const record: FileRecord = {
      id,
      tenant,
      ...file,
      place: UPLOADED,
      purpose: form.purpose,
      createdAtMs,
      ...(lifeMs === undefined ? {} : { expiresAtMs: createdAtMs + lifeMs }),
    };
    await ledgers.patiently(ledgers.files.commit(record, limits));
    return record;
  } catch (error) {
    // Whatever this does not reach goes when the announcement falls due.
    await discard(service, id, clock.nowMs()).catch(() => undefined);
    throw error;
  }
}

interface ReceivedForm {
  readonly file: StoredPart | undefined;
  readonly fields: Record<string, unknown>;
}

/** The parser of forms knows its own faults by name, and throws plain errors for those of a form. */
const isMalformed = (error: unknown): boolean => error instanceof Error && error.constructor === Error && !("code" in error);

async function readForm(request: FastifyRequest, keep: (stream: Readable) => Promise<number>): Promise<ReceivedForm> {
  try {
    return await readParts(request, keep);
  } catch (error) {
    if (!isMalformed(error)) throw error;
    throw new AppError("INVALID_ARGUMENT", "the form is malformed", { details: { openaiCode: "invalid_form" }, cause: error });
  }
}

/** Reads a form to its end, also one that is at fault: a client that is still sending would not see the answer. */
async function readParts(request: FastifyRequest, keep: (stream: Readable) => Promise<number>): Promise<ReceivedForm> {
  let file: StoredPart | undefined;
  let fault: AppError | undefined;
  const fields: Record<string, unknown> = {};
  for await (const part of request.parts()) {
    if (part.type === "field") {
      setField(fields, part.fieldname, part.value);
    } else if (part.fieldname !== "file" || file !== undefined) {
      fault = new AppError("INVALID_ARGUMENT", 'expected one file, named "file"', { details: { param: "file" } });
      part.file.resume();
    } else {
      const bytes = await keep(part.file);
      if (part.file.truncated) fault = tooLong();
      // By characters: half of one could not be sent back in a header.
      file = { name: [...(part.filename ?? "")].slice(0, MAX_NAME).join("") || "file", bytes };
    }
  }
  if (fault) throw fault;
  return { file, fields };
}

/** `a[b]` is the field b of an object a. */
function setField(fields: Record<string, unknown>, name: string, value: unknown): void {
  const [, outer, inner] = /^([a-z_]+)\[([a-z_]+)\]$/.exec(name) ?? [];
  if (outer === undefined || inner === undefined) fields[name] = value;
  else fields[outer] = { ...(fields[outer] as object | undefined), [inner]: value };
}

function tooLong(): AppError {
  const details = { httpStatus: 413, openaiCode: "file_too_large", param: "file" };
  return new AppError("INVALID_ARGUMENT", "file: longer than this server accepts", { details });
}

/** Removes a file that is announced or stored, as far as it goes now. */
async function discard({ ledgers, store }: BatchService, id: FileRecord["id"], nowMs: number): Promise<void> {
  await store.removeFolder(fileFolder(id));
  await ledgers.patiently(ledgers.files.abandon(id, nowMs));
  await ledgers.patiently(ledgers.files.forget(id));
}
