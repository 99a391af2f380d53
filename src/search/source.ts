import { Problem } from '../domain/errors.ts';
import { visible } from '../domain/visible.ts';

export const MAX_LENGTH = 4096;
const MAX_SHOWN = 40;

/** A query parameter that is being parsed: its name, for messages, and its text. */
export interface Source {
  name: 'where' | 'order_by';
  text: string;
}

/** @throws {Problem} invalid-request if the text is too long, or holds what SQLite would cut or replace */
export function checkSource(source: Source): void {
  const { text } = source;
  if (text.length > MAX_LENGTH) throw mismatch(source, MAX_LENGTH, `at most ${MAX_LENGTH} characters`);
  const at = text.search(/\0|\p{Cs}/u);
  if (at >= 0) throw mismatch(source, at, 'a character of Unicode other than NUL');
}

/** Returns the error for a text that has something else than `expected` at the index `at`. */
export function mismatch({ name, text }: Source, at: number, expected: string): Problem {
  // Columns count characters as people see them in most editors: a surrogate pair is one.
  const position = [...text.slice(0, at)].length + 1;
  const detail = `${name}, column ${position}: expected ${expected}, found ${shown(text.slice(at))}.`;
  return new Problem('invalid-request', detail, { position, expected });
}

function shown(rest: string): string {
  const characters = [...rest.slice(0, 2 * MAX_SHOWN)];
  if (characters.length === 0) return 'the end';
  return visible(characters.slice(0, MAX_SHOWN).join('')) + (characters.length > MAX_SHOWN ? '…' : '');
}
