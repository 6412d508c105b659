import { AppError, type TenantId } from "@moiety/core";
import { invalidField } from "../openai/errors.js";
import type { ConversationItem, InputItem, ItemReference } from "./input-items.js";
import type { ItemSection } from "./response-chat.js";
import { asResponseId, itemId, type ResponseId, responseOfItem } from "./response-ids.js";
import type { ResponseStore, StoredResponse } from "./response-store.js";

/** Responses that the references of one request may lead to. */
const MAX_REFERRED = 64;

/** The error for a response that is not there, or is another tenant's: there is no telling which. */
export function noResponse(id: string, param = "response_id"): AppError {
  return new AppError("NOT_FOUND", `there is no response ${id.slice(0, 64)} here, or no longer`, {
    details: { param, openaiCode: param === "response_id" ? "response_not_found" : "previous_response_not_found" },
  });
}

/** Everything that was said up to a response, oldest first. @throws AppError NOT_FOUND or INVALID_ARGUMENT. */
export async function historyOf(
  store: ResponseStore,
  tenant: TenantId,
  previous: string | undefined,
): Promise<readonly ItemSection[]> {
  if (previous === undefined) return [];
  const field = "previous_response_id";
  const id = asResponseId(previous);
  const links = id === undefined ? [] : await store.chain(tenant, id);
  if (links[0]?.input === undefined) throw noResponse(previous, field);
  return links.toReversed().flatMap(({ id: link, input, end }): ItemSection[] => {
    if (!input) throw invalidField(field, `${link}, which it continues, is no longer stored`, "previous_response_not_found");
    if (end?.status !== "completed" && end?.status !== "incomplete") {
      throw invalidField(field, `expected a response that has ended well; ${link} is ${end?.status ?? "not finished"}`);
    }
    const nameOf = () => field;
    return [
      { items: input, nameOf },
      { items: end.output, nameOf },
    ];
  });
}

/** Items as they are stored: references replaced by what they refer to, every item with an id. @throws AppError INVALID_ARGUMENT. */
export async function resolveInput(
  store: ResponseStore,
  tenant: TenantId,
  request: { readonly id: ResponseId; readonly input: readonly (InputItem | ItemReference)[] },
): Promise<readonly InputItem[]> {
  const { id, input } = request;
  const referred = new Map<ResponseId, StoredResponse | undefined>();
  const items: InputItem[] = [];
  for (const [index, item] of input.entries()) {
    if (item.type !== "item_reference") {
      items.push({ ...item, id: item.id ?? itemId(id, item.type, { of: "input", index }) });
      continue;
    }
    const owner = responseOfItem(item.id);
    if (owner !== undefined && !referred.has(owner)) {
      if (referred.size === MAX_REFERRED) {
        throw invalidField(`input[${index}].id`, `expected references to items of at most ${MAX_REFERRED} responses`);
      }
      referred.set(owner, await store.read(tenant, owner));
    }
    const response = owner === undefined ? undefined : referred.get(owner);
    const found = response && [...response.input, ...(response.end?.output ?? [])].find((stored) => stored.id === item.id);
    if (!found) throw invalidField(`input[${index}].id`, "expected the id of an item that is stored here", "item_not_found");
    items.push(asInput(found));
  }
  return items;
}

/** What was put out is put in again: the parts that only an output has are left out. */
function asInput(item: ConversationItem): InputItem {
  if (item.type === "message") {
    const content = item.content.map((part) => (part.type === "output_text" ? { type: part.type, text: part.text } : part));
    return { id: item.id ?? "", type: "message", role: item.role, status: "completed", content };
  }
  if (item.type === "reasoning") return { id: item.id ?? "", type: "reasoning", summary: [], content: item.content };
  return { ...item, status: "completed" };
}
