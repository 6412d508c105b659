/** The release of Kubernetes that is built, such as `1.37`. */
export const RELEASE: string;
/** Paths of the programs by name; undefined when they were not built. */
export function findPrograms(): Programs | undefined;

export interface Programs {
  readonly etcd: string;
  readonly "kube-apiserver": string;
  readonly "kube-controller-manager": string;
  readonly "kube-scheduler": string;
}
