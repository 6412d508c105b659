/** A conversation or a vocabulary that the format cannot express. The parser never throws it. */
export class HarmonyError extends Error {
  override readonly name = "HarmonyError";
  /** The field at fault, such as `messages[2].name`. */
  readonly field: string;

  constructor(field: string, message: string) {
    super(`${field}: ${message}`);
    this.field = field;
  }
}
