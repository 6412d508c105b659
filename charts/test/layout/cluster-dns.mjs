// Preloaded into each process of the layout in place of the cluster's DNS: names of services and of hosts outside, from the file CLUSTER_HOSTS.
import dns from "node:dns";
import { readFileSync } from "node:fs";
import { syncBuiltinESMExports } from "node:module";

const system = { lookup: dns.lookup, promise: dns.promises.lookup };

/** @returns {{ address: string, family: 4 }[] | undefined} */
function known(name) {
  const hosts = JSON.parse(readFileSync(process.env.CLUSTER_HOSTS, "utf8"));
  return hosts[name]?.map((address) => ({ address, family: 4 }));
}

dns.lookup = (name, options, callback) => {
  const answer = typeof options === "function" ? options : callback;
  const addresses = known(name);
  if (addresses === undefined) return system.lookup(name, options, callback);
  const [first] = addresses;
  process.nextTick(() => {
    if (first === undefined) answer(Object.assign(new Error(`no address of ${name}`), { code: "ENOTFOUND" }));
    else if (options?.all) answer(null, addresses);
    else answer(null, first.address, first.family);
  });
};
dns.promises.lookup = async (name, options) => {
  const addresses = known(name);
  if (addresses === undefined) return system.promise(name, options);
  if (addresses.length === 0) throw Object.assign(new Error(`no address of ${name}`), { code: "ENOTFOUND" });
  return options?.all ? addresses : addresses[0];
};
syncBuiltinESMExports();
