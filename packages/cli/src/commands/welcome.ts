import type { ClusterOptions } from "../cluster/cluster-options.js";
import { displayPath } from "../display-path.js";

export interface WelcomeFacts {
  readonly options: ClusterOptions;
  /** How long the start took. */
  readonly seconds: number;
  readonly logDir: string;
  /** Whether clients need a key. */
  readonly hasKeys: boolean;
  /** Whether the model can be chatted with; one without a tokenizer takes token ids only. */
  readonly chats: boolean;
}

/** What to do with a cluster that is ready. */
export function welcome({ options, seconds, logDir, hasKeys, chats }: WelcomeFacts): string {
  const host = options.host === "0.0.0.0" || options.host === "::" ? "127.0.0.1" : options.host;
  const base = `http://${host}:${options.port}`;
  const key = hasKeys ? ` -H "Authorization: Bearer $KEY"` : "";
  const [path, asked] = chats
    ? ["chat/completions", { messages: [{ role: "user", content: "What is 17 + 25?" }] }]
    : ["completions", { prompt: [1, 2, 3], max_tokens: 32 }];
  const body = JSON.stringify({ model: options.modelName, ...asked, stream: true });
  return [
    "",
    `Moiety is ready (${seconds.toFixed(1)} s): ${base}/v1 serves ${options.modelName}`,
    "",
    `  curl -N ${base}/v1/${path} -H "Content-Type: application/json"${key} -d ${shellQuote(body)}`,
    "",
    ...(chats ? [`  chat: npx moiety chat --url ${base}`] : []),
    `  logs: ${displayPath(logDir)}/<process>.log    stop: Ctrl-C`,
    "",
  ].join("\n");
}

function shellQuote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
