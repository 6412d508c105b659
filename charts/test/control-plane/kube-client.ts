import { Agent, request } from "node:https";
import { setTimeout as sleep } from "node:timers/promises";
import type { Manifest } from "../helm.js";

export interface Kind {
  readonly apiVersion: string;
  readonly kind: string;
}

export interface Named extends Kind {
  readonly metadata: { readonly name: string; readonly labels?: Readonly<Record<string, string>> };
  readonly spec?: unknown;
}

export interface Answer<T> {
  readonly status: number;
  /** Texts of the headers `Warning`. */
  readonly warnings: readonly string[];
  readonly body: T;
}

/** What the server says when it refuses. */
export interface Refusal {
  readonly kind: "Status";
  readonly reason: string;
  readonly message: string;
}

export interface Change {
  /** Of no meaning for what is in no namespace. */
  readonly namespace: string;
  /** The server does all but store it. */
  readonly dryRun?: boolean;
}

interface Resource {
  readonly name: string;
  readonly kind: string;
  readonly namespaced: boolean;
}

const TOO_MANY_REQUESTS = 429;
const RETRIES = 20;
const RETRY_MS = 500;

/** Kubernetes' API over HTTPS with a token. Unknown and doubled fields are refused. */
export class KubeClient {
  readonly #agent: Agent;
  readonly #port: number;
  readonly #token: string;
  /** By the path of their group and version. */
  readonly #resources = new Map<string, readonly Resource[]>();

  constructor({ port, token, ca }: { readonly port: number; readonly token: string; readonly ca: string }) {
    this.#agent = new Agent({ ca });
    this.#port = port;
    this.#token = token;
  }

  async isReady(): Promise<boolean> {
    const answer = await this.call("GET", "/readyz").catch(() => undefined);
    return answer?.status === 200;
  }

  /** Server-side apply, as Helm 4 does. */
  async apply(object: Named, { namespace, dryRun }: Change): Promise<Answer<Manifest | Refusal>> {
    const path = `${await this.path(object, namespace)}/${object.metadata.name}`;
    const query = `fieldManager=test&fieldValidation=Strict${dryRun === true ? "&dryRun=All" : ""}`;
    return this.call("PATCH", `${path}?${query}`, object, "application/apply-patch+yaml");
  }

  /** Refuses what is there already. */
  async create(object: Named, { namespace, dryRun }: Change): Promise<Answer<Manifest | Refusal>> {
    const query = `fieldValidation=Strict${dryRun === true ? "&dryRun=All" : ""}`;
    return this.call("POST", `${await this.path(object, namespace)}?${query}`, object);
  }

  /** Creates what is certain to be right. @throws Error with what the server says. */
  async add(object: Named, namespace = ""): Promise<void> {
    const { status, body } = await this.create(object, { namespace });
    if (status !== 201) throw new Error(JSON.stringify(body));
  }

  /** Whether the server has a kind, as it has one of a definition some time after that was created. */
  async hasKind(kind: Kind): Promise<boolean> {
    return (await this.#resource(kind)) !== undefined;
  }

  /** All objects of a kind, of one namespace or of all. */
  async list<T = Manifest>(kind: Kind, namespace?: string): Promise<readonly T[]> {
    const { status, body } = await this.call<{ readonly items: readonly T[] }>("GET", await this.path(kind, namespace));
    if (status !== 200) throw new Error(JSON.stringify(body));
    return body.items;
  }

  /** Where the objects of a kind are. @throws Error if the server has none such. */
  async path(kind: Kind, namespace?: string): Promise<string> {
    const resource = await this.#resource(kind);
    if (resource === undefined) throw new Error(`the server has no ${kind.apiVersion} ${kind.kind}`);
    const inside = resource.namespaced && namespace !== undefined ? `/namespaces/${namespace}` : "";
    return `${baseOf(kind)}${inside}/${resource.name}`;
  }

  /** Any request; what the server answers, whatever it is, unless that is to ask again later, as while it takes up a new kind. */
  async call<T>(method: string, path: string, body?: object, type = "application/json"): Promise<Answer<T>> {
    for (let left = RETRIES; ; left -= 1) {
      const answer = await this.#callOnce<T>(method, path, body, type);
      if (answer.status !== TOO_MANY_REQUESTS || left === 0) return answer;
      await sleep(RETRY_MS);
    }
  }

  close(): void {
    this.#agent.destroy();
  }

  #callOnce<T>(method: string, path: string, body: object | undefined, type: string): Promise<Answer<T>> {
    const text = body === undefined ? "" : JSON.stringify(body);
    const headers = {
      authorization: `Bearer ${this.#token}`,
      accept: "application/json",
      "content-type": type,
      "content-length": Buffer.byteLength(text),
    };
    const options = { host: "127.0.0.1", port: this.#port, agent: this.#agent, method, path, headers };
    return new Promise((resolve, reject) => {
      const sent = request(options, (response) => {
        let answer = "";
        response.setEncoding("utf8").on("data", (chunk: string) => (answer += chunk));
        response.once("error", reject).once("end", () => {
          const isJson = response.headers["content-type"]?.startsWith("application/json") === true;
          const warnings = warningsOf(response.headers.warning);
          resolve({ status: response.statusCode ?? 0, warnings, body: (isJson ? JSON.parse(answer) : answer) as T });
        });
      });
      sent.once("error", reject).end(text);
    });
  }

  async #resource(wanted: Kind): Promise<Resource | undefined> {
    const base = baseOf(wanted);
    const find = (resources: readonly Resource[] = []) =>
      resources.find(({ kind, name }) => kind === wanted.kind && !name.includes("/"));
    const known = find(this.#resources.get(base));
    if (known !== undefined) return known;
    const { body } = await this.call<{ readonly resources?: readonly Resource[] }>("GET", base);
    this.#resources.set(base, body.resources ?? []);
    return find(body.resources);
  }
}

function baseOf({ apiVersion }: Kind): string {
  return apiVersion.includes("/") ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
}

/** Of a header such as `299 - "text", 299 - "more"`. */
function warningsOf(header: string | undefined): readonly string[] {
  return [...(header ?? "").matchAll(/\d{3} \S+ ("(?:[^"\\]|\\.)*")/g)].map(([, text = ""]) => JSON.parse(text) as string);
}
