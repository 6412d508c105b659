import type { GatewayFixture, JsonAnswer } from "./gateway-fixture.js";

export const ADMIN_KEY = "admin-key-of-the-test";
export const bearer = (key: string) => ({ authorization: `Bearer ${key}` });

/** Tenants as an operator has them. */
export class AdminClient {
  readonly #fixture: GatewayFixture;

  constructor(fixture: GatewayFixture) {
    this.#fixture = fixture;
  }

  get(path: string): Promise<JsonAnswer> {
    return this.#fixture.request(`/admin/v1/${path}`, { headers: bearer(ADMIN_KEY) });
  }

  delete(path: string): Promise<JsonAnswer> {
    return this.#fixture.request(`/admin/v1/${path}`, { method: "DELETE", headers: bearer(ADMIN_KEY) });
  }

  post(path: string, body: unknown): Promise<JsonAnswer> {
    return this.#fixture.post(`/admin/v1/${path}`, body, bearer(ADMIN_KEY));
  }

  /** Gives a tenant limits. */
  async limit(tenant: string, limits: object): Promise<void> {
    const { status, body } = await this.post(`tenants/${tenant}`, { limits });
    if (status !== 200) throw new Error(JSON.stringify(body));
  }

  /** A key for a tenant; its text and its id. */
  async key(tenant: string): Promise<{ readonly key: string; readonly id: string }> {
    return (await this.post("keys", { tenant })).body;
  }

  // biome-ignore lint/suspicious/noExplicitAny: entries have many shapes
  async audit(query = ""): Promise<any[]> {
    const { body } = await this.get(`audit${query}`);
    const text = typeof body === "string" ? body : JSON.stringify(body ?? null);
    return text
      .split("\n")
      .filter((line) => line !== "" && line !== "null")
      .map((line) => JSON.parse(line));
  }
}
