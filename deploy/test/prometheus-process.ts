import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePort, ManagedProcess, waitUntil } from "@moiety/testing";
import { stringify } from "yaml";
import type { RuleFile } from "./observed.js";

export interface Series {
  readonly metric: Readonly<Record<string, string>>;
  readonly values: readonly (readonly [time: number, value: string])[];
}

/** A real Prometheus that scrapes and evaluates every second. */
export class PrometheusProcess {
  readonly process: ManagedProcess;
  readonly #url: string;
  readonly #folder: string;
  readonly #startedS = Date.now() / 1_000;

  private constructor(process: ManagedProcess, url: string, folder: string) {
    this.process = process;
    this.#url = url;
    this.#folder = folder;
  }

  static async start(options: {
    readonly program: string;
    /** host:port of each process. */
    readonly targets: readonly string[];
    readonly rules: readonly RuleFile[];
  }): Promise<PrometheusProcess> {
    const folder = mkdtempSync(join(tmpdir(), "moiety-prometheus-"));
    mkdirSync(join(folder, "rules"));
    for (const [index, file] of options.rules.entries()) writeFileSync(join(folder, "rules", `${index}.yaml`), stringify(file));
    const config = {
      global: { scrape_interval: "1s", scrape_timeout: "1s", evaluation_interval: "1s" },
      rule_files: [join(folder, "rules", "*.yaml")],
      scrape_configs: [{ job_name: "moiety", honor_labels: true, static_configs: [{ targets: options.targets }] }],
    };
    writeFileSync(join(folder, "prometheus.yaml"), stringify(config));
    const address = `127.0.0.1:${await freePort()}`;
    const args = [
      `--config.file=${join(folder, "prometheus.yaml")}`,
      `--storage.tsdb.path=${join(folder, "data")}`,
      `--web.listen-address=${address}`,
      "--log.level=warn",
    ];
    const process = new ManagedProcess({ name: "prometheus", file: options.program, args, env: {} });
    const started = new PrometheusProcess(process, `http://${address}`, folder);
    process.start();
    const hopes = { timeoutMs: 30_000, describe: () => process.describe(), hopeless: () => process.exit !== undefined };
    await waitUntil("Prometheus is ready", () => started.#isReady(), hopes);
    return started;
  }

  /** What an expression gave, at any time since the start. */
  async history(expr: string): Promise<readonly Series[]> {
    const { result } = await this.#get<{ readonly result: readonly Series[] }>("query_range", {
      query: expr,
      start: String(this.#startedS),
      end: String(Date.now() / 1_000),
      step: "1",
    });
    return result;
  }

  /** Whether there was a series of that name at any time. */
  async hasSeries(name: string): Promise<boolean> {
    const end = String(Date.now() / 1_000);
    const found = await this.#get<readonly unknown[]>("series", {
      "match[]": `{__name__="${name}"}`,
      start: String(this.#startedS),
      end,
    });
    return found.length > 0;
  }

  /** Names of the alerts that fire or are about to, or of those in one of the two states. */
  async alerts(state?: "firing" | "pending"): Promise<readonly string[]> {
    const { alerts } = await this.#get<{
      readonly alerts: readonly { readonly state: string; readonly labels: { readonly alertname: string } }[];
    }>("alerts", {});
    const found = alerts.filter((alert) => state === undefined || alert.state === state);
    return [...new Set(found.map(({ labels }) => labels.alertname))].sort();
  }

  async close(): Promise<void> {
    await this.process.kill();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  async #isReady(): Promise<boolean> {
    const response = await fetch(`${this.#url}/-/ready`).catch(() => undefined);
    return response?.ok ?? false;
  }

  async #get<T>(path: string, query: Readonly<Record<string, string>>): Promise<T> {
    const response = await fetch(`${this.#url}/api/v1/${path}?${new URLSearchParams(query)}`);
    const { data, error } = (await response.json()) as { readonly data: T; readonly error?: string };
    if (error !== undefined) throw new Error(`${error}: ${JSON.stringify(query)}`);
    return data;
  }
}
