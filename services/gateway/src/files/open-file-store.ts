import type { GatewayConfig } from "../config.js";
import type { FileStore } from "./file-store.js";
import { ObjectStore } from "./object-store.js";
import { VolumeStore } from "./volume-store.js";

/** The store that a gateway is told of; undefined when it is told of none. @throws AppError INVALID_ARGUMENT for one that cannot be used. */
export async function openFileStore(config: GatewayConfig): Promise<FileStore | undefined> {
  if (config.MOIETY_FILES_S3_URL !== undefined) {
    return new ObjectStore({
      url: config.MOIETY_FILES_S3_URL,
      region: config.MOIETY_FILES_S3_REGION,
      accessKeyId: config.MOIETY_FILES_S3_KEY_ID,
      secretAccessKey: config.MOIETY_FILES_S3_SECRET,
    });
  }
  return config.MOIETY_FILES_DIR === undefined ? undefined : VolumeStore.open(config.MOIETY_FILES_DIR);
}
