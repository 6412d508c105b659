import type { ActivationChoice } from "@moiety/kernels";

/** What `moiety up` was told, with its defaults filled in. */
export interface ClusterOptions {
  /** Folder of the checkpoint, absolute. */
  readonly model: string;
  /** The model's name in the API. */
  readonly modelName: string;
  /** Address of the API. */
  readonly host: string;
  readonly port: number;
  /** Expert workers; 0 when co-located. */
  readonly experts: number;
  readonly attention: number;
  /** Whether the attention workers hold all experts themselves. */
  readonly colocated: boolean;
  /** Copies of every expert, on different workers. */
  readonly replicas: number;
  /** Compute threads of each worker. */
  readonly threads: number;
  readonly activation?: ActivationChoice;
  readonly kernelLevel?: string;
  /** Workers reach each other over TCP; default: over Unix sockets in the data folder, which cost less. */
  readonly tcp?: boolean;
  /** Absolute; holds Redis's data, logs and run.json. */
  readonly dataDir: string;
  /** A Redis that runs already; absent: a private one is started. */
  readonly redisUrl?: string;
}
