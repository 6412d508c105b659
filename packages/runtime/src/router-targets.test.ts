import { describe, expect, it } from "vitest";
import { findRouterTargets, routerAddressField } from "./router-targets.js";

describe("the places where a router may be", () => {
  it("are addresses as they are given, and every address that a name stands for, with the name for its certificate", async () => {
    const given = "127.0.0.1:7070, [::1]:7070,unix:/run/router.sock";
    expect(await findRouterTargets(given)).toEqual([
      { address: "127.0.0.1:7070" },
      { address: "[::1]:7070" },
      { address: "unix:/run/router.sock" },
    ]);
    const named = await findRouterTargets("localhost:7070");
    expect(named).toContainEqual({ address: "127.0.0.1:7070", hostName: "localhost" });
  });

  it("are those of the names that can be looked up; without any there is an error that says so", async () => {
    const unknown = "no-such-router.invalid:7070";
    expect(await findRouterTargets(`${unknown},127.0.0.1:1`)).toEqual([{ address: "127.0.0.1:1" }]);
    await expect(findRouterTargets(unknown)).rejects.toMatchObject({
      code: "UNAVAILABLE",
      message: expect.stringMatching(/^the name of the router cannot be looked up \(E\w+\)$/),
    });
  });

  it("are sixteen at most", async () => {
    const many = Array.from({ length: 40 }, (_, index) => `127.0.0.1:${index + 1}`).join(",");
    expect(await findRouterTargets(many)).toHaveLength(16);
  });

  it.each(["router", "router:", "a:1,,b:2", "a:1,b", ""])("are none in %j, which a process refuses at its start", (text) => {
    expect(routerAddressField.safeParse(text).success).toBe(false);
  });
});
