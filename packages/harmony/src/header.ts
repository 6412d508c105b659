import { CHANNELS, type Channel, type ContentType } from "./message.js";
import type { RepairKind } from "./repairs.js";
import { closest } from "./spelling.js";

export type Role = "system" | "developer" | "user" | "assistant" | "tool";

/** The header of a parsed message, repaired where it was faulty. */
export interface MessageHeader {
  readonly role: Role;
  /** The tool's name, the name that a user carries, or the word in a role's place that is none. */
  readonly name?: string;
  /** Whom the message is for, when not for the user: a tool such as `functions.get_weather`, or `assistant`. */
  readonly recipient?: string;
  /** Always present in an assistant's message. */
  readonly channel?: Channel;
  readonly contentType?: ContentType;
}

/** The marker after which header text was read: `<|start|>`, `<|channel|>` or `<|constrain|>`. */
export type HeaderSection = "role" | "channel" | "constrain";

export interface HeaderParts {
  readonly roleWord?: string;
  readonly recipient?: string;
  /** As written: maybe misspelt, maybe unknown. */
  readonly channelWord?: string;
  readonly contentType?: ContentType;
}

/**
 * What is known of the author before the header's text: it is the `assistant`; it is `named` first, after `<|start|>`; or no
 * `<|start|>` came, so that the text may name one (`guessed`) or be content of the assistant.
 */
export type AuthorSource = "assistant" | "named" | "guessed";

/** A header that is being read. */
export interface HeaderDraft {
  readonly author: AuthorSource;
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
  /** The repairs within the certain parts. */
  readonly certainRepairs: readonly RepairKind[];
}

/** Longest text of one section, in UTF-16 units: what is longer is content whose `<|message|>` is missing. */
const MAX_SECTION_LENGTH = 256;

const CHANNEL_LIST = CHANNELS.join("|");
const LETTER = String.raw`[\p{L}\p{N}_]`;
const WORD_REST = String.raw`[\p{L}\p{M}\p{N}_.:/-]`;
const PATTERN = {
  space: /\s*/y,
  recipient: new RegExp(`to=\\s*(${LETTER}${WORD_REST}{0,127})`, "uy"),
  /** A role, up to a recipient that follows without a space. */
  role: new RegExp(`(?!to=)${LETTER}${WORD_REST}{0,159}?(?=to=|(?!${WORD_REST}).|$)`, "suy"),
  assistantAgain: /assistant(?![\w])/y,
  /** Words that name an author where no `<|start|>` says that one is named. */
  guessedRole: /(?:assistant|user|system|developer)(?![\w:])|(?:(?:functions|browser)\.[\w.-]{1,120}|python)(?=\s+to=)/y,
  /** A channel that ends in another part, or in text that cannot belong to it. */
  channelThenMore: new RegExp(`(?:${CHANNEL_LIST})(?=to=|assistant|${CHANNEL_LIST}|json|[^a-z]|$)`, "y"),
  channelWord: /(?!to=)[A-Za-z_-]{1,32}/y,
  bareChannel: new RegExp(`(?:${CHANNEL_LIST})(?![\\w])`, "y"),
  bareRecipient: /(?:(?:functions|browser)\.[\w.-]{1,120}|python)(?!\S)/y,
  typeWord: new RegExp(`(?!to=)${LETTER}${WORD_REST}{0,127}`, "uy"),
  knownType: /(?:json|code|text)(?!\S)/y,
  /** The type of arguments that follow at once. */
  typeThenJson: /json(?=\s*[{[])/y,
} as const;

/** Beginnings of header parts that are not yet whole enough for their pattern. */
const OPENINGS = ["to=", "functions.", "browser.", "python", "json", "code", "text", "assistant", ...CHANNELS];

/** Authors that are not tools. */
export const PLAIN_ROLES = ["system", "developer", "user", "assistant"] as const;

interface Match {
  readonly length: number;
  readonly parts: HeaderParts;
  readonly certain: boolean;
  readonly repair?: RepairKind;
}

/** Reads what a section holds so far. Pure: the same text gives the same reading however it arrived. */
export function readSection(draft: HeaderDraft): SectionReading {
  const { text } = draft;
  let parts = draft.parts;
  let certain = draft.parts;
  const repairs: RepairKind[] = [];
  let certainRepairs: readonly RepairKind[] = [];
  let position = skipSpace(text, 0);
  let certainEnd = 0;
  let first = true;
  while (position < text.length) {
    const match = matchPart(draft, { parts, position, first });
    if (match === undefined) break;
    position += match.length;
    parts = { ...parts, ...match.parts };
    if (match.repair !== undefined) repairs.push(match.repair);
    if (match.certain) {
      certain = parts;
      certainEnd = position;
      certainRepairs = [...repairs];
    }
    position = skipSpace(text, position);
    first = false;
  }
  const afterCertain = certainEnd === 0 ? text : text.slice(certainEnd).trimStart();
  const unread = text.slice(position);
  const plausible = text.length <= MAX_SECTION_LENGTH && (unread === "" || mayBecomePart(draft, unread, first));
  return { parts, certain, afterCertain, unread, plausible, repairs, certainRepairs };
}

interface Place {
  readonly parts: HeaderParts;
  readonly position: number;
  readonly first: boolean;
}

function matchPart(draft: HeaderDraft, place: Place): Match | undefined {
  const take = (pattern: RegExp) => matchAt(pattern, draft.text, place.position);
  const recipient = take(PATTERN.recipient);
  if (recipient !== undefined) {
    const [{ length }, word = ""] = recipient;
    if (place.parts.recipient === undefined) return { length, parts: { recipient: word }, certain: true };
    return { length, parts: {}, certain: true, repair: "doubled-part" };
  }
  if (place.first) {
    const lead = matchFirst(draft, take);
    if (lead !== undefined || draft.section !== "role" || draft.author === "named") return lead;
  }
  return matchChannelAgain(draft, place, take) ?? matchLater(place, take);
}

type Take = (pattern: RegExp) => RegExpExecArray | undefined;

function matchFirst(draft: HeaderDraft, take: Take): Match | undefined {
  switch (draft.section) {
    case "role":
      return matchRole(draft.author, take);
    case "channel": {
      const word = (take(PATTERN.channelThenMore) ?? take(PATTERN.channelWord))?.[0];
      if (word === undefined) return undefined;
      return { length: word.length, parts: { channelWord: word }, certain: closest(word, CHANNELS) !== undefined };
    }
    case "constrain": {
      const word = take(PATTERN.typeWord)?.[0];
      if (word === undefined) return undefined;
      const match = { length: word.length, parts: { contentType: { name: word, constrained: true } }, certain: true };
      return draft.parts.contentType?.constrained === false ? { ...match, repair: "doubled-part" } : match;
    }
  }
}

function matchRole(author: AuthorSource, take: Take): Match | undefined {
  switch (author) {
    case "assistant": {
      const word = take(PATTERN.assistantAgain)?.[0];
      return word === undefined ? undefined : { length: word.length, parts: {}, certain: false, repair: "doubled-part" };
    }
    case "guessed": {
      const word = take(PATTERN.guessedRole)?.[0];
      return word === undefined ? undefined : { length: word.length, parts: { roleWord: word }, certain: false };
    }
    case "named": {
      const word = take(PATTERN.role)?.[0];
      return word === undefined ? undefined : { length: word.length, parts: { roleWord: word }, certain: isRole(word) };
    }
  }
}

/** A channel where no `<|channel|>` says so, or a part that was there before. */
function matchChannelAgain(draft: HeaderDraft, { parts }: Place, take: Take): Match | undefined {
  const channel = take(PATTERN.bareChannel)?.[0];
  if (channel !== undefined && (draft.section === "role" || parts.channelWord === undefined)) {
    return { length: channel.length, parts: { channelWord: channel }, certain: false, repair: "bare-header-part" };
  }
  const again = channel ?? take(PATTERN.assistantAgain)?.[0];
  return again === undefined ? undefined : { length: again.length, parts: {}, certain: false, repair: "doubled-part" };
}

function matchLater(place: Place, take: Take): Match | undefined {
  const recipient = place.parts.recipient === undefined ? take(PATTERN.bareRecipient)?.[0] : undefined;
  if (recipient !== undefined) {
    return { length: recipient.length, parts: { recipient }, certain: false, repair: "bare-header-part" };
  }
  if (place.parts.contentType !== undefined) return undefined;
  const called = place.parts.recipient !== undefined;
  const typed = called ? take(PATTERN.typeThenJson)?.[0] : undefined;
  const type = typed ?? take(called ? PATTERN.typeWord : PATTERN.knownType)?.[0];
  if (type === undefined) return undefined;
  return { length: type.length, parts: { contentType: { name: type, constrained: false } }, certain: typed !== undefined };
}

function mayBecomePart(draft: HeaderDraft, unread: string, first: boolean): boolean {
  if (/^to=\s*$/.test(unread)) return true;
  const candidates = first && draft.author === "guessed" ? [...OPENINGS, ...PLAIN_ROLES] : OPENINGS;
  return candidates.some((candidate) => candidate.startsWith(unread));
}

function matchAt(pattern: RegExp, text: string, position: number): RegExpExecArray | undefined {
  pattern.lastIndex = position;
  return pattern.exec(text) ?? undefined;
}

function skipSpace(text: string, position: number): number {
  return position + (matchAt(PATTERN.space, text, position)?.[0].length ?? 0);
}

function isRole(word: string): boolean {
  const [role] = word.split(":");
  return PLAIN_ROLES.some((plain) => plain === role) || word.includes(".") || closest(word, ["assistant"]) !== undefined;
}
