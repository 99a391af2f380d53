/**
 * Characters that control a terminal, or hide or reorder the text around them: control characters, format characters
 * (including bidirectional ones, CVE-2021-42574), line and paragraph separators, and lone surrogates.
 */
const INVISIBLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]+/gu;
const INVISIBLE_IN_JSON = /[[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]--\n]/gv;

/** Returns untrusted text as one line for display, with a space in place of invisible characters. */
export function visible(text: string): string {
  return text.replace(INVISIBLE, ' ');
}

/** Escapes invisible characters in JSON text without changing its value; `JSON.stringify` leaves most of them unescaped. */
export function visibleJson(json: string): string {
  return json.replace(INVISIBLE_IN_JSON, (character) => {
    const units = Array.from({ length: character.length }, (_, i) => character.charCodeAt(i));
    return units.map((unit) => `\\u${unit.toString(16).padStart(4, '0')}`).join('');
  });
}
