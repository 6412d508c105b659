import { createServer, type Server } from "node:http";
import { type CryptoKey, exportJWK, generateKeyPair, type JWK, SignJWT } from "jose";

/** Publishes keys and signs tokens with them, as an OpenID provider does. */
export class TokenIssuer {
  readonly #server: Server;
  #keys: { readonly kid: string; readonly privateKey: CryptoKey; readonly jwk: JWK }[] = [];
  /** Requests for the keys. */
  asked = 0;
  /** In place of the keys. */
  body: string | undefined;
  #port = 0;

  private constructor() {
    this.#server = createServer((request, response) => {
      response.setHeader("content-type", "application/json");
      if (request.url === "/.well-known/openid-configuration") {
        response.end(JSON.stringify({ issuer: this.url, jwks_uri: this.jwksUrl }));
        return;
      }
      this.asked += 1;
      response.end(this.body ?? JSON.stringify({ keys: this.#keys.map(({ jwk }) => jwk) }));
    });
  }

  static async start(): Promise<TokenIssuer> {
    const issuer = new TokenIssuer();
    await issuer.addKey("first");
    await issuer.listen();
    return issuer;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  get jwksUrl(): string {
    return `${this.url}/keys`;
  }

  async listen(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(this.#port, "127.0.0.1", resolve));
    const address = this.#server.address();
    if (typeof address === "object" && address) this.#port = address.port;
  }

  async addKey(kid: string, alg = "ES256"): Promise<void> {
    const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true });
    this.#keys.push({ kid, privateKey, jwk: { ...(await exportJWK(publicKey)), kid, alg } });
  }

  dropKey(kid: string): void {
    this.#keys = this.#keys.filter((key) => key.kid !== kid);
  }

  get publicKeys(): readonly JWK[] {
    return this.#keys.map(({ jwk }) => jwk);
  }

  /** A token; `claims` change those that are right. */
  async sign(claims: Readonly<Record<string, unknown>> = {}, kid = "first"): Promise<string> {
    const key = this.#keys.find((each) => each.kid === kid);
    if (!key) throw new Error(`there is no key ${kid}`);
    const now = Math.floor(Date.now() / 1_000);
    const all = { iss: this.url, aud: "moiety", sub: "user-1", tenant: "alice", iat: now, exp: now + 600, ...claims };
    const given = Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
    return new SignJWT(given).setProtectedHeader({ alg: key.jwk.alg ?? "ES256", kid }).sign(key.privateKey);
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    if (this.#server.listening) await new Promise((resolve) => this.#server.close(resolve));
  }
}
