import type { CallShape, JsonSchema, TurnShape } from "@moiety/grammar";
import { invalidField } from "../openai/errors.js";
import { type AskedContent, askedContent, type GrammarFields } from "../openai/grammar-fields.js";
import type { ToolFields } from "../openai/tool-fields.js";

/** What a chat's next turn is held to. */
export interface ConstrainedTurn {
  readonly shape: TurnShape;
  /** What of it the client wrote, by the fields in which it did. */
  readonly asked: readonly AskedContent[];
  /** Whether the client asked for something that has to be enforced; else it only keeps the model to what it may call. */
  readonly isBinding: boolean;
}

type Tool = NonNullable<ToolFields["tools"]>[number];

interface Calling {
  /** Which functions may be called, by their places in `tools`. */
  readonly callable: readonly (readonly [index: number, tool: Tool])[];
  /** Whether the turn has to be a call. */
  readonly forced: boolean;
  /** Whether functions that the model sees may not be called. */
  readonly restricted: boolean;
}

const NO_PARAMETERS: JsonSchema = { type: "object", properties: {}, additionalProperties: false };

/**
 * The grammar of a chat's next turn; absent: none, and the model writes what it likes.
 *
 * | asked for                          | answers       | calls   | preambles | binding |
 * |------------------------------------|---------------|---------|-----------|---------|
 * | no tools and no format             |               |         |           | no grammar |
 * | tools, and none of them            | free          | no      | yes       | no      |
 * | tools that are not strict          | free          | any     | yes       | no      |
 * | strict tools                       | free          | any     | yes       | yes     |
 * | a format                           | in the format | if auto | no        | yes     |
 * | allowed tools, auto                | free          | those   | yes       | yes     |
 * | required, named, allowed, required | no            | those   | yes       | yes     |
 *
 * @throws AppError INVALID_ARGUMENT that names the field at fault.
 */
export function constrainedTurn(body: ToolFields & GrammarFields): ConstrainedTurn | undefined {
  const answer = askedContent(body);
  const { callable, forced, restricted } = callingOf(body);
  const isBinding = answer !== undefined || forced || restricted || callable.some(([, tool]) => tool.function.strict === true);
  if (!isBinding && (body.tools ?? []).length === 0) return undefined;
  const calls = callable.map(([index, { function: declared }]) => ({
    field: `tools[${index}].function.parameters`,
    call: { name: declared.name, parameters: argumentsOf(declared, forced) } satisfies CallShape,
  }));
  return {
    shape: {
      ...(forced ? {} : { answer: answer?.content ?? { kind: "text" } }),
      calls: calls.map(({ call }) => call),
      severalCalls: body.parallel_tool_calls !== false && !isNamed(body),
      // A preamble is content to a client: it would stand before the format.
      preambles: answer === undefined,
    },
    asked: [
      ...(answer === undefined ? [] : [answer]),
      ...calls.map(({ field, call }) => ({ field, content: { kind: "json", schema: call.parameters } as const })),
    ],
    isBinding,
  };
}

/** Names of the functions that the model may call. @throws AppError INVALID_ARGUMENT that names the field at fault. */
export function callableNames(body: ToolFields): readonly string[] {
  return callingOf(body).callable.map(([, tool]) => tool.function.name);
}

/** One function that has to be called is called once. */
const isNamed = ({ tool_choice: choice }: ToolFields) => typeof choice === "object" && choice.type === "function";

/** Strict arguments obey the schema, as do forced ones unless the client says that they need not: those are any object. */
function argumentsOf({ parameters, strict }: Tool["function"], forced: boolean): JsonSchema {
  if (!(strict ?? forced)) return { type: "object" };
  return { ...(parameters ?? NO_PARAMETERS), type: parameters?.["type"] ?? "object" };
}

function callingOf({ tools = [], tool_choice: choice = "auto" }: ToolFields): Calling {
  const all = [...tools.entries()];
  if (choice === "auto") return { callable: all, forced: false, restricted: false };
  if (choice === "none") return { callable: [], forced: false, restricted: false };
  if (choice === "required") {
    if (all.length === 0) throw invalidField("tool_choice", "expected tools, of which one is to be called");
    return { callable: all, forced: true, restricted: false };
  }
  const named = (name: string, field: string) => {
    const found = all.filter(([, tool]) => tool.function.name === name);
    if (found.length === 0) throw invalidField(field, "expected the name of one of tools");
    return found;
  };
  if (choice.type === "function") {
    return { callable: named(choice.function.name, "tool_choice.function.name"), forced: true, restricted: true };
  }
  const { mode, tools: allowed } = choice.allowed_tools;
  const names = new Set<string>();
  const callable = allowed.flatMap(({ function: { name } }, index) => {
    if (names.has(name)) return [];
    names.add(name);
    return named(name, `tool_choice.allowed_tools.tools[${index}].function.name`);
  });
  return { callable, forced: mode === "required", restricted: true };
}
