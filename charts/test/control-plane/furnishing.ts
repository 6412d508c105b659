import { waitUntil } from "@moiety/testing";
import { CUSTOM_RESOURCES } from "../schemas.js";
import type { KubeClient } from "./kube-client.js";

/** Defines the kinds of the Prometheus Operator, KEDA and cert-manager, as those who install them do, and waits until the server knows them. */
export async function addCustomResources(client: KubeClient): Promise<void> {
  for (const definition of CUSTOM_RESOURCES) await client.add(definition);
  for (const { spec } of CUSTOM_RESOURCES)
    for (const { name } of spec.versions) {
      const kind = { apiVersion: `${spec.group}/${name}`, kind: spec.names.kind };
      await waitUntil(`the server knows ${kind.kind}`, () => client.hasKind(kind));
    }
}

/** A namespace on which a level of the Pod Security standards is enforced, with warnings for the workloads whose pods would be refused. */
export async function addNamespace(client: KubeClient, name: string, level: "restricted" | "privileged"): Promise<void> {
  const modes = ["enforce", "warn"].map((mode) => [`pod-security.kubernetes.io/${mode}`, level]);
  await client.add({ apiVersion: "v1", kind: "Namespace", metadata: { name, labels: Object.fromEntries(modes) } });
}

/** As many volumes as are asked for, each good for any claim. */
export async function addVolumes(client: KubeClient, count: number): Promise<void> {
  for (let index = 0; index < count; index += 1)
    await client.add({
      apiVersion: "v1",
      kind: "PersistentVolume",
      metadata: { name: `volume-${index}` },
      spec: {
        capacity: { storage: "1Ti" },
        accessModes: ["ReadWriteOnce", "ReadWriteMany", "ReadOnlyMany"],
        hostPath: { path: `/nowhere/${index}` },
      },
    });
}
