import type { Page } from "@moiety/queue";
import { z } from "zod";
import { invalidField } from "./errors.js";

/** Fields of the query of a list. */
export function pageFields({ limit, fallback }: { readonly limit: number; readonly fallback: number }) {
  const expected = `expected 1 to ${limit}`;
  return {
    after: z.string().min(1).max(128).exactOptional(),
    limit: z.coerce.number(expected).int(expected).min(1, expected).max(limit, expected).default(fallback),
    order: z.enum(["asc", "desc"], { error: 'expected "asc" or "desc"' }).default("desc"),
  };
}

/** A page in OpenAI's form. @throws AppError INVALID_ARGUMENT when the item that it was to follow is not there. */
export function describePage<T extends { readonly id: string }>(
  page: Page<T> | undefined,
  describe: (item: T) => object,
): object {
  if (page === undefined) throw invalidField("after", "expected the id of an item of this list");
  return {
    object: "list",
    data: page.items.map(describe),
    first_id: page.items[0]?.id ?? null,
    last_id: page.items.at(-1)?.id ?? null,
    has_more: page.hasMore,
  };
}
