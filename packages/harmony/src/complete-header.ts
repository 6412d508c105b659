import { type HeaderDraft, type HeaderParts, type MessageHeader, PLAIN_ROLES, type Role } from "./header.js";
import { CHANNELS, type Channel } from "./message.js";
import type { RepairKind } from "./repairs.js";
import { abbreviated, closest } from "./spelling.js";

/** Completes a header: repairs spelling, fills in what is missing. */
export function completeHeader(draft: HeaderDraft, parts: HeaderParts): { header: MessageHeader; repairs: RepairKind[] } {
  const repairs: RepairKind[] = [];
  const author = authorOf(draft, parts, repairs);
  const channel = channelOf(author.role, { ...parts, ...author }, repairs);
  const header: MessageHeader = {
    role: author.role,
    ...(author.name === undefined ? {} : { name: author.name }),
    ...(parts.recipient === undefined ? {} : { recipient: parts.recipient }),
    ...(channel === undefined ? {} : { channel }),
    ...(parts.contentType === undefined ? {} : { contentType: parts.contentType }),
  };
  return { header, repairs };
}

interface Author {
  readonly role: Role;
  readonly name?: string;
  /** The channel of `assistantfinal` and the like. */
  readonly channelWord?: string;
}

function authorOf(draft: HeaderDraft, parts: HeaderParts, repairs: RepairKind[]): Author {
  const word = parts.roleWord;
  if (word === undefined) {
    if (draft.author === "named") repairs.push("missing-role");
    return { role: "assistant" };
  }
  const [role, ...name] = word.split(":");
  const plain = PLAIN_ROLES.find((candidate) => candidate === role);
  if (plain !== undefined) return name.length === 0 ? { role: plain } : { role: plain, name: name.join(":") };
  const glued = CHANNELS.find((channel) => word === `assistant${channel}`);
  if (glued !== undefined) {
    repairs.push("bare-header-part");
    return { role: "assistant", ...(parts.channelWord === undefined ? { channelWord: glued } : {}) };
  }
  if (closest(word, ["assistant"]) !== undefined) {
    repairs.push("misspelt-role");
    return { role: "assistant" };
  }
  if (word.includes(".") || word === "python" || parts.recipient !== undefined) return { role: "tool", name: word };
  repairs.push("unknown-role");
  return { role: "assistant", name: word };
}

function channelOf(role: Role, parts: HeaderParts, repairs: RepairKind[]): Channel | undefined {
  const word = parts.channelWord;
  const channel = word === undefined ? undefined : (closest(word, CHANNELS) ?? abbreviated(word, CHANNELS));
  if (channel !== undefined && channel !== word) repairs.push("misspelt-channel");
  if (channel !== undefined) return channel;
  if (word !== undefined) repairs.push("unknown-channel");
  if (role !== "assistant") return undefined;
  if (word === undefined) repairs.push("missing-channel");
  return parts.recipient === undefined ? "final" : "commentary";
}
