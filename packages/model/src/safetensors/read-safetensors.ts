import { open } from "node:fs/promises";
import { basename } from "node:path";
import { fromFileError } from "../json/file-error.js";
import { decodeUtf8 } from "../json/read-json-file.js";
import { headerFault, parseSafetensorsHeader, type SafetensorsHeader } from "./safetensors-header.js";

/** The largest header that is read: some thousand times what the largest released checkpoint has. */
export const MAX_HEADER_BYTES = 64 * 1024 * 1024;

const LENGTH_BYTES = 8;

/** Reads and checks the header of one safetensors file; none of its data is read. */
export async function readSafetensorsHeader(path: string): Promise<SafetensorsHeader> {
  const file = basename(path);
  try {
    const handle = await open(path, "r");
    try {
      const { size: fileBytes } = await handle.stat();
      const read = async (offset: number, length: number) => {
        const buffer = Buffer.alloc(length);
        const { bytesRead } = await handle.read(buffer, 0, length, offset);
        if (bytesRead !== length) throw headerFault(file, undefined, `ends at byte ${offset + bytesRead}, inside its header`);
        return buffer;
      };
      if (fileBytes < LENGTH_BYTES) throw headerFault(file, undefined, `${fileBytes} bytes, too few for a safetensors file`);
      const headerBytes = (await read(0, LENGTH_BYTES)).readBigUInt64LE();
      if (headerBytes > BigInt(Math.min(MAX_HEADER_BYTES, fileBytes - LENGTH_BYTES))) {
        const problem = `its header would be ${headerBytes} bytes long, expected at most ${MAX_HEADER_BYTES} and within the file's ${fileBytes}`;
        throw headerFault(file, undefined, problem);
      }
      const length = Number(headerBytes);
      const text = decodeUtf8(await read(LENGTH_BYTES, length), file);
      if (!text.startsWith("{")) throw headerFault(file, undefined, "its header does not begin with {");
      const dataStartBytes = LENGTH_BYTES + length;
      return parseSafetensorsHeader({ file, text, dataStartBytes, dataBytes: fileBytes - dataStartBytes });
    } finally {
      await handle.close();
    }
  } catch (error) {
    throw fromFileError(error, path);
  }
}
