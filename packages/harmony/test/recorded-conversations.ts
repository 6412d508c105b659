import {
  BROWSER_TOOL,
  type DeveloperMessage,
  type Message,
  PYTHON_TOOL,
  renderConversation,
  type Segment,
  type SystemMessage,
  type ToolNamespace,
} from "../src/index.js";
import { readRecorded } from "./recorded.js";

type RecordedTool = ToolNamespace | { readonly builtin: "browser" | "python" };
type WithRecordedTools<Declaring> = Omit<Declaring, "tools"> & { readonly tools?: readonly RecordedTool[] };
type RecordedMessage =
  | Exclude<Message, { tools?: unknown }>
  | WithRecordedTools<SystemMessage>
  | WithRecordedTools<DeveloperMessage>;

export interface RecordedConversation {
  readonly keepAnalysis: boolean;
  readonly completion: boolean;
  readonly messages: readonly RecordedMessage[];
  readonly tokens: { readonly count: number; readonly sha256: string };
  /** Special tokens, and the text between them; of every eighth conversation. */
  readonly rendered?: readonly Segment[];
}

/** What openai-harmony made of generated conversations; `fixtures/make_rendered.py` records them. */
export function readConversations(): readonly RecordedConversation[] {
  return readRecorded<RecordedConversation>("rendered.jsonl.gz");
}

const BUILT_IN = { browser: BROWSER_TOOL, python: PYTHON_TOOL };

export function renderRecorded({ messages, completion, keepAnalysis }: RecordedConversation): Segment[] {
  const typed = messages.map((message): Message => {
    if (message.role !== "system" && message.role !== "developer") return message;
    const tools = message.tools?.map((tool) => ("builtin" in tool ? BUILT_IN[tool.builtin] : tool));
    return { ...message, tools: tools ?? [] };
  });
  return renderConversation(typed, { completion, keepAnalysis });
}
