import type { TraceSpan } from "@moiety/runtime";
import type { GenerationTimer } from "../metrics.js";

/** A generation's spans below its request's: admission, and for each choice the wait for its first token and the others. */
export function tracedTimer(inner: GenerationTimer, request: TraceSpan, choices: number): GenerationTimer {
  const submittingMs = performance.now();
  const phases: (TraceSpan | undefined)[] = [];
  const counts = new Array<number>(choices).fill(0);
  const next = (index: number, name?: string) => {
    phases[index]?.end();
    phases[index] = name === undefined ? undefined : request.child(name, { attributes: { "moiety.choice": index } });
  };
  return {
    admitted() {
      inner.admitted();
      const admission = request.child("admission", { startMs: request.startMs });
      admission.child("enqueue", { kind: "producer", startMs: submittingMs }).end();
      admission.end();
      for (let index = 0; index < choices; index += 1) next(index, "first token");
    },
    tokens(index, count) {
      inner.tokens(index, count);
      if (count > 0 && counts[index] === 0) next(index, "further tokens");
      counts[index] = (counts[index] ?? 0) + count;
    },
    end(index, end) {
      inner.end(index, end);
      phases[index]?.set({ "gen_ai.usage.output_tokens": end.outputTokens, "gen_ai.response.finish_reason": end.finishReason });
      next(index);
    },
    fail(error) {
      inner.fail(error);
      for (let index = 0; index < choices; index += 1) {
        phases[index]?.fail(error.code);
        next(index);
      }
      request.fail(error.code);
    },
    over: () => inner.over(),
  };
}
