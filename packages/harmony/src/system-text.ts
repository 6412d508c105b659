import { CHANNELS, type SystemMessage } from "./message.js";
import { toolsText } from "./tools-text.js";

export const DEFAULT_IDENTITY = "You are ChatGPT, a large language model trained by OpenAI.";
export const DEFAULT_KNOWLEDGE_CUTOFF = "2024-06";

/**
 * The text of a system message: identity and dates, effort, tools, channels.
 * Source: openai-harmony 0.0.8.
 * @param functionsExist whether the conversation defines functions, which the channels then mention.
 */
export function systemText(message: SystemMessage, functionsExist: boolean): string {
  const { identity = DEFAULT_IDENTITY, knowledgeCutoff = DEFAULT_KNOWLEDGE_CUTOFF, currentDate } = message;
  const { reasoningEffort = "medium", tools = [], channels = CHANNELS } = message;
  const about = [
    ...(identity === false ? [] : [identity]),
    ...(knowledgeCutoff === false ? [] : [`Knowledge cutoff: ${knowledgeCutoff}`]),
    ...(currentDate === undefined ? [] : [`Current date: ${currentDate}`]),
  ];
  const sections = [
    ...(about.length === 0 ? [] : [about.join("\n")]),
    ...(reasoningEffort === false ? [] : [`Reasoning: ${reasoningEffort}`]),
    ...(tools.length === 0 ? [] : [toolsText(tools)]),
    ...(channels.length === 0 ? [] : [channelsText(message, functionsExist)]),
  ];
  return sections.join("\n\n");
}

function channelsText({ channels = CHANNELS, channelRequired = true }: SystemMessage, functionsExist: boolean): string {
  const required = channelRequired ? " Channel must be included for every message." : "";
  const calls = functionsExist ? "\nCalls to these tools must go to the commentary channel: 'functions'." : "";
  return `# Valid channels: ${channels.join(", ")}.${required}${calls}`;
}
