import { z } from "zod";

/** A field that would change the answer, were it obeyed: better refused than ignored. */
export const refused = (why: string) => z.undefined({ error: why }).optional();
/** A switch that may be sent as long as it is off. */
const off = (why: string) => z.literal(false, { error: `expected false: ${why}` }).optional();

const BEAM_SEARCH = "beam search is not available";
const TEMPLATE = "the model's own format is the only one that it was trained on";
const TOOLS = "deprecated in OpenAI's API and not available: use tools and tool_choice";

/** Of both endpoints; most are vLLM's. */
export const refusedGenerationFields = {
  structural_tag: refused("not available: use structured_outputs, or tools"),
  guided_whitespace_pattern: refused("not available: whitespace in JSON is up to 16 spaces and line ends"),
  allowed_token_ids: refused("not available: ban tokens with logit_bias"),
  bad_words: refused("not available: ban tokens with logit_bias"),
  logits_processors: refused("programs of clients are not run"),
  prompt_logprobs: refused("not available: use echo with logprobs on /v1/completions"),
  truncate_prompt_tokens: refused("prompts are not cut: send one that fits into the context"),
  include_stop_str_in_output: off("stop strings are left out of the answer"),
  use_beam_search: off(BEAM_SEARCH),
};

/** Of `/v1/chat/completions` alone. */
export const refusedChatFields = {
  functions: refused(TOOLS),
  function_call: refused(TOOLS),
  audio: refused("this model reads and writes text only"),
  modalities: z.array(z.literal("text"), { error: 'expected ["text"]: this model reads and writes text only' }).optional(),
  web_search_options: refused("this server does not search the web"),
  chat_template: refused(TEMPLATE),
  continue_final_message: off("answers begin a message of their own"),
  echo: off("prompts are echoed by /v1/completions"),
};
