import { fileURLToPath } from "node:url";

/** The small trained model that is served when none is named. It lies in the package: tools/tiny-model makes it. */
export const DEFAULT_MODEL_FOLDER = fileURLToPath(new URL("../../models/moiety-tiny", import.meta.url));
