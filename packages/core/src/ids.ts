import { randomBytes } from "node:crypto";
import { AppError } from "./app-error.js";

declare const brand: unique symbol;
/** A string that only its parse function makes. */
export type Branded<Name extends string> = string & { readonly [brand]: Name };

export type WorkerId = Branded<"WorkerId">;
export type RequestId = Branded<"RequestId">;
export type TenantId = Branded<"TenantId">;

const ID = /^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$/;

function parse(kind: string, text: string): string {
  if (ID.test(text)) return text;
  throw new AppError(
    "INVALID_ARGUMENT",
    `${kind} must be 1 to 128 characters of A-Z a-z 0-9 . _ : - and begin with a letter or digit`,
  );
}

export const parseWorkerId = (text: string): WorkerId => parse("worker id", text) as WorkerId;
export const parseRequestId = (text: string): RequestId => parse("request id", text) as RequestId;
export const parseTenantId = (text: string): TenantId => parse("tenant id", text) as TenantId;

/** A fresh id such as `cmpl-5f0c…`, with 96 random bits. */
export function newRequestId(prefix: string): RequestId {
  return parseRequestId(`${prefix}-${randomBytes(12).toString("hex")}`);
}
