/**
 * What drives a terminal, or hides or reorders what stands beside it: controls, format characters (bidirectional ones among
 * them, CVE-2021-42574), separators of lines and paragraphs, and halves of surrogate pairs.
 */
const UNSEEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]+/gu;
const UNSEEN_IN_JSON = /[[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]--\n]/gv;

/** Text that others wrote as one line for people: a space for what cannot be seen. */
export function visible(text: string): string {
  return text.replace(UNSEEN, ' ');
}

/** JSON text of the same value, with escapes for what cannot be seen, of which `JSON.stringify` leaves most. */
export function visibleJson(json: string): string {
  return json.replace(UNSEEN_IN_JSON, (character) => {
    const units = Array.from({ length: character.length }, (_, i) => character.charCodeAt(i));
    return units.map((unit) => `\\u${unit.toString(16).padStart(4, '0')}`).join('');
  });
}
