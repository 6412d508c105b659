import type { Manifest } from "../helm.js";
import type { Named } from "./kube-client.js";

/** What a controller would make of a workload: a pod of its template, and the claims of a stateful set's first pod. Of anything else nothing. */
export function podObjects({ kind, metadata, spec }: Manifest): readonly Named[] {
  if (kind === "Pod" || spec?.template?.spec === undefined) return [];
  const name = `${metadata.name}-0`;
  const templates = (spec.volumeClaimTemplates ?? []) as readonly (Named & { readonly spec: object })[];
  const claims = templates.map((template) => ({
    apiVersion: "v1",
    kind: "PersistentVolumeClaim",
    metadata: { ...template.metadata, name: `${template.metadata.name}-${name}` },
    spec: template.spec,
  }));
  const volumes = templates.map((template, index) => ({
    name: template.metadata.name,
    persistentVolumeClaim: { claimName: claims[index]?.metadata.name },
  }));
  const pod = {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { ...spec.template.metadata, name },
    spec: { ...spec.template.spec, volumes: [...(spec.template.spec.volumes ?? []), ...volumes] },
  };
  return [...claims, pod];
}
