/**
 * The alphabet of byte-level BPE, from GPT-2: printable Latin-1 bytes stand for themselves, the other 68 for U+0100 onwards,
 * so that any bytes can be written as visible text.
 */
const CHARACTERS: readonly string[] = makeAlphabet();

const BYTE_BY_CHARACTER: ReadonlyMap<string, number> = new Map(CHARACTERS.map((character, byte) => [character, byte]));

function makeAlphabet(): string[] {
  let next = 0x100;
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(isPrintable(byte) ? byte : next++));
}

function isPrintable(byte: number): boolean {
  return (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xff && byte !== 0xad);
}

/** Bytes in the alphabet of byte-level BPE. */
export function toByteLevel(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += CHARACTERS[byte] ?? "";
  return text;
}

/** The bytes that byte-level text stands for; undefined if a character is not of its alphabet. */
export function fromByteLevel(text: string): Uint8Array | undefined {
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) {
    const byte = BYTE_BY_CHARACTER.get(text.charAt(i));
    if (byte === undefined) return undefined;
    bytes[i] = byte;
  }
  return bytes;
}
