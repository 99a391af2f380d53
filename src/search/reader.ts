import { fieldList, fieldNamed, isGroup } from './fields.ts';
import type { FieldRef, Listing } from './filter.ts';
import { checkSource, mismatch, type Source } from './source.ts';
import { type Token, tokens } from './tokens.ts';

export const MAX_KEY = 512;
/** MLflow's prefix of fields that are not tags, params or metrics. */
const PREFIX = /^attributes?\./;

/** Reads the tokens of a query one after another. */
export class Reader {
  readonly #source: Source;
  readonly #tokens: Token[];
  #next = 0;

  constructor(source: Source) {
    checkSource(source);
    this.#source = source;
    this.#tokens = tokens(source);
  }

  /** Returns the next token without taking it. */
  peek(): Token {
    return this.#tokens[this.#next]!;
  }

  /** Returns the token and goes to the next one; the end stays. */
  take(): Token {
    const token = this.peek();
    if (token.kind !== 'end') this.#next++;
    return token;
  }

  /** Takes a keyword in any case, or a symbol, if it comes next. */
  takeIf(text: string): boolean {
    const { kind, text: found } = this.peek();
    const same = (kind === 'word' && found.toLowerCase() === text) || (kind === 'symbol' && found === text);
    if (same) this.take();
    return same;
  }

  need(text: string, expected: string): void {
    if (!this.takeIf(text)) throw this.error(expected);
  }

  /** Returns the error that something else is expected at a token; by default at the next one. */
  error(expected: string, { at } = this.peek()): Error {
    return mismatch(this.#source, at, expected);
  }

  /** Reads a field of a listing: `status`, `tags.team`, ``metrics.`val/auc` ``. */
  field(listing: Listing): FieldRef {
    const token = this.take();
    const expected = `a field: ${fieldList(listing)}`;
    if (token.kind !== 'word') throw this.error(expected, token);
    const path = token.text.replace(PREFIX, '');
    const dot = path.indexOf('.');
    const name = fieldNamed(dot < 0 ? path : path.slice(0, dot), listing);
    if (name === undefined || (dot >= 0 && !isGroup(name))) throw this.error(expected, token);
    return isGroup(name) ? { name, key: this.#key(token, dot < 0 ? null : path.slice(dot + 1)) } : { name };
  }

  /** Returns the key after the dot: written in the word of its group, or in quotes right behind it. */
  #key(group: Token, written: string | null): string {
    const end = group.at + group.text.length;
    if (written === null) throw this.error(`a dot and a key, such as ${group.text}.name`, { ...group, at: end });
    if (written !== '') return written;
    const token = this.peek();
    if (token.kind !== 'quoted' || token.quote === "'" || token.at !== end)
      throw this.error('a key, in ` or " if it has other characters than letters, digits and _./-', {
        ...group,
        at: end,
      });
    if (token.text === '' || token.text.length > MAX_KEY) throw this.error(`a key of 1 to ${MAX_KEY} characters`);
    this.take();
    return token.text;
  }
}
