const FIELD = '"token_ids":[';

/**
 * Ids in the `token_ids` of an event with one choice; none of an error in its place, and the stream then ends without them. Only looks
 * for the list: parsing all of the JSON would take more of the processors than the gateway does.
 */
export function countTokens(event: string): number {
  const begin = event.indexOf(FIELD);
  if (begin < 0) return 0;
  let count = 0;
  for (let at = begin + FIELD.length; ; at++) {
    const code = event.charCodeAt(at);
    if (code === 0x2c) count += 1;
    else if (!(code >= 0x30 && code <= 0x39)) return at === begin + FIELD.length ? 0 : count + 1;
  }
}
