import { CHANNELS, type Channel, type ContentType } from "./message.js";
import type { RepairKind } from "./repairs.js";
import { closest } from "./spelling.js";

export type Role = "system" | "developer" | "user" | "assistant" | "tool";

/** The header of a parsed message, repaired where it was faulty. */
export interface MessageHeader {
  readonly role: Role;
  /** The tool's name, or the name that a user carries. */
  readonly name?: string;
  /** Whom the message is for, when not for the user: a tool such as `functions.get_weather`, or `assistant`. */
  readonly recipient?: string;
  /** Always present in an assistant's message. */
  readonly channel?: Channel;
  readonly contentType?: ContentType;
}

/** The marker after which header text was read: `<|start|>`, `<|channel|>` or `<|constrain|>`. */
export type HeaderSection = "role" | "channel" | "constrain";

interface HeaderParts {
  readonly roleWord?: string;
  readonly recipient?: string;
  /** As written: maybe misspelt, maybe unknown. */
  readonly channelWord?: string;
  readonly contentType?: ContentType;
}

/** A header that is being read. */
export interface HeaderDraft {
  /** True when the author is known to be the assistant, so that the text need not begin with a role. */
  readonly authorKnown: boolean;
  readonly section: HeaderSection;
  /** Text of the section so far. */
  readonly text: string;
  /** Parts from sections before this one. */
  readonly parts: HeaderParts;
  /** Markers seen, so that an empty header can be told from none. */
  readonly marked: boolean;
}

/** What the text of a section amounts to. */
export interface SectionReading {
  /** Every part that was recognised, including words that would be content if no `<|message|>` followed. */
  readonly parts: HeaderParts;
  /** The parts that are header whatever follows. */
  readonly certain: HeaderParts;
  /** Text after the certain parts: content, if the header turns out to have ended there. */
  readonly afterCertain: string;
  /** Text that is no part of a header; empty while the text may still become one. */
  readonly unread: string;
  /** Whether `unread` may still become part of a header when more text comes. */
  readonly plausible: boolean;
  readonly repairs: readonly RepairKind[];
}

/** Longest text of one section, in UTF-16 units: what is longer is content whose `<|message|>` is missing. */
const MAX_SECTION_LENGTH = 256;

const CHANNEL_LIST = CHANNELS.join("|");
const PATTERN = {
  space: /\s*/y,
  recipient: /to=\s*([\w.:/-]{1,128})/y,
  role: /[\w.:-]{1,64}/y,
  assistantAgain: /assistant(?![\w])/y,
  /** A channel that ends in another part, or in text that cannot belong to it. */
  channelThenMore: new RegExp(`(?:${CHANNEL_LIST})(?=to=|[^a-z]|$)`, "y"),
  channelWord: /[A-Za-z_-]{1,32}/y,
  bareChannel: new RegExp(`(?:${CHANNEL_LIST})(?![\\w])`, "y"),
  bareRecipient: /(?:(?:functions|browser)\.[\w.-]{1,120}|python)(?!\S)/y,
  typeWord: /[\w-]{1,32}/y,
  knownType: /(?:json|code|text)(?!\S)/y,
} as const;

/** Beginnings of header parts that are not yet whole enough for their pattern. */
const OPENINGS = ["to=", "functions.", "browser.", "python", "json", "code", "text"];

interface Match {
  readonly length: number;
  readonly parts: HeaderParts;
  readonly certain: boolean;
  readonly repair?: RepairKind;
}

/** Reads what a section holds so far. Pure: the same text gives the same reading however it arrived. */
export function readSection(draft: HeaderDraft): SectionReading {
  const { text } = draft;
  let reading: Omit<SectionReading, "unread" | "plausible" | "afterCertain"> = {
    parts: draft.parts,
    certain: draft.parts,
    repairs: [],
  };
  let position = skipSpace(text, 0);
  let certainEnd = 0;
  let first = true;
  while (position < text.length) {
    const match = matchPart(draft, { parts: reading.parts, position, first });
    if (match === undefined) break;
    position += match.length;
    const parts = { ...reading.parts, ...match.parts };
    if (match.certain) certainEnd = position;
    reading = {
      parts,
      certain: match.certain ? parts : reading.certain,
      repairs: match.repair === undefined ? reading.repairs : [...reading.repairs, match.repair],
    };
    position = skipSpace(text, position);
    first = false;
  }
  const afterCertain = certainEnd === 0 ? text : text.slice(certainEnd).trimStart();
  const unread = text.slice(position);
  const plausible = text.length <= MAX_SECTION_LENGTH && (unread === "" || mayBecomePart(draft, unread, first));
  return { ...reading, afterCertain, unread, plausible };
}

interface Place {
  readonly parts: HeaderParts;
  readonly position: number;
  readonly first: boolean;
}

function matchPart(draft: HeaderDraft, place: Place): Match | undefined {
  const take = (pattern: RegExp) => matchAt(pattern, draft.text, place.position);
  const recipient = take(PATTERN.recipient);
  if (recipient !== undefined && place.parts.recipient === undefined) {
    return { length: recipient[0].length, parts: { recipient: recipient[1] ?? "" }, certain: true };
  }
  if (place.first) {
    const lead = matchFirst(draft, take);
    if (lead !== undefined || draft.section !== "role" || !draft.authorKnown) return lead;
  }
  const channel = draft.section === "role" ? take(PATTERN.bareChannel) : undefined;
  if (channel !== undefined) {
    return { length: channel[0].length, parts: { channelWord: channel[0] }, certain: false, repair: "bare-header-part" };
  }
  return matchLater(place, take);
}

type Take = (pattern: RegExp) => RegExpExecArray | undefined;

function matchFirst(draft: HeaderDraft, take: Take): Match | undefined {
  switch (draft.section) {
    case "role": {
      const word = take(draft.authorKnown ? PATTERN.assistantAgain : PATTERN.role)?.[0];
      if (word === undefined) return undefined;
      if (draft.authorKnown) return { length: word.length, parts: {}, certain: false, repair: "doubled-part" };
      return { length: word.length, parts: { roleWord: word }, certain: isRole(word) };
    }
    case "channel": {
      const word = (take(PATTERN.channelThenMore) ?? take(PATTERN.channelWord))?.[0];
      if (word === undefined) return undefined;
      return { length: word.length, parts: { channelWord: word }, certain: closest(word, CHANNELS) !== undefined };
    }
    case "constrain": {
      const word = take(PATTERN.typeWord)?.[0];
      if (word === undefined) return undefined;
      return { length: word.length, parts: { contentType: { name: word, constrained: true } }, certain: true };
    }
  }
}

function matchLater(place: Place, take: Take): Match | undefined {
  const recipient = place.parts.recipient === undefined ? take(PATTERN.bareRecipient)?.[0] : undefined;
  if (recipient !== undefined) {
    return { length: recipient.length, parts: { recipient }, certain: false, repair: "bare-header-part" };
  }
  if (place.parts.contentType !== undefined) return undefined;
  const type = take(place.parts.recipient === undefined ? PATTERN.knownType : PATTERN.typeWord)?.[0];
  if (type === undefined) return undefined;
  return { length: type.length, parts: { contentType: { name: type, constrained: false } }, certain: false };
}

function mayBecomePart(draft: HeaderDraft, unread: string, first: boolean): boolean {
  if (/^to=\s*$/.test(unread)) return true;
  const openings = draft.section === "role" ? [...OPENINGS, ...CHANNELS] : OPENINGS;
  const candidates = first && draft.authorKnown ? [...openings, "assistant"] : openings;
  return candidates.some((candidate) => candidate.startsWith(unread));
}

function matchAt(pattern: RegExp, text: string, position: number): RegExpExecArray | undefined {
  pattern.lastIndex = position;
  return pattern.exec(text) ?? undefined;
}

function skipSpace(text: string, position: number): number {
  return position + (matchAt(PATTERN.space, text, position)?.[0].length ?? 0);
}

const PLAIN_ROLES = ["system", "developer", "user", "assistant"] as const;

function isRole(word: string): boolean {
  const [role] = word.split(":");
  return PLAIN_ROLES.some((plain) => plain === role) || word.includes(".") || closest(word, ["assistant"]) !== undefined;
}

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
    if (!draft.authorKnown) repairs.push("missing-role");
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
  if (word.includes(".") || parts.recipient !== undefined) return { role: "tool", name: word };
  repairs.push("unknown-role");
  return { role: "assistant" };
}

function channelOf(role: Role, parts: HeaderParts, repairs: RepairKind[]): Channel | undefined {
  const word = parts.channelWord;
  const channel = word === undefined ? undefined : closest(word, CHANNELS);
  if (channel !== undefined && channel !== word) repairs.push("misspelt-channel");
  if (channel !== undefined) return channel;
  if (word !== undefined) repairs.push("unknown-channel");
  if (role !== "assistant") return undefined;
  if (word === undefined) repairs.push("missing-channel");
  return parts.recipient === undefined ? "final" : "commentary";
}
