import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import { AppError } from "@moiety/core";
import { z } from "zod";

/** A place where a router may be. */
export interface RouterTarget {
  /** host:port or unix:path; the host is an address. */
  readonly address: string;
  /** The name that stands for the address, which its certificate bears. */
  readonly hostName?: string;
}

/** Most places that are tried in a round. */
const MAX_TARGETS = 16;
const ADDRESS = /^(unix:.+|\S+:\d{1,5})$/;

const addressesOf = (text: string) => text.split(",").map((part) => part.trim());

/** The variable that names the routers. */
export const routerAddressField = z
  .string()
  .refine(
    (text) => addressesOf(text).every((address) => ADDRESS.test(address)),
    "expected host:port or unix:path, or several parted by commas",
  )
  .describe(
    "host:port or unix:path of the router; of several routers all, parted by commas, or a host name that stands for all their addresses",
  );

/**
 * Looks up where routers may be now.
 * @throws AppError UNAVAILABLE when no name can be looked up.
 */
export async function findRouterTargets(routerAddress: string): Promise<readonly RouterTarget[]> {
  const found = await Promise.allSettled(addressesOf(routerAddress).map(targetsOf));
  const targets = found.flatMap((each) => (each.status === "fulfilled" ? each.value : []));
  const [failure] = found.filter((each) => each.status === "rejected");
  if (targets.length === 0 && failure !== undefined) {
    const { code = "unknown" } = failure.reason as { readonly code?: string };
    throw new AppError("UNAVAILABLE", `the name of the router cannot be looked up (${code})`, { cause: failure.reason });
  }
  return targets.slice(0, MAX_TARGETS);
}

async function targetsOf(address: string): Promise<RouterTarget[]> {
  const [, host = "", port = ""] = /^\[?(.+?)\]?:(\d+)$/.exec(address) ?? [];
  if (address.startsWith("unix:") || isIP(host) !== 0) return [{ address }];
  const addresses = await lookup(host, { all: true });
  return addresses.map((each) => ({
    address: each.family === 6 ? `[${each.address}]:${port}` : `${each.address}:${port}`,
    hostName: host,
  }));
}
