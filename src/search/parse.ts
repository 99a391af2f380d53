import { comparatorsOf } from './fields.ts';
import type { Comparator, Comparison, FieldRef, Filter, Listing, Value } from './filter.ts';
import { Reader } from './reader.ts';
import type { Token } from './tokens.ts';
import { literalOf } from './values.ts';

export const MAX_COMPARISONS = 50;
export const MAX_DEPTH = 10;
export const MAX_VALUES = 100;

interface Context {
  listing: Listing;
  /** The environments that can be named; without them, any name is taken. */
  environments?: readonly string[];
}

/**
 * Parses the filter of a listing, the query parameter `where`: docs/search.md. Returns null for a blank text, which filters
 * nothing.
 *
 * @example parse("metrics.auc > 0.9 and not (tags.team = 'risk')", { listing: 'versions' })
 * @throws {Problem} invalid-request with `position`, the column counted from 1, and `expected`
 */
export function parse(where: string, context: Context): Filter | null {
  const reader = new Reader({ name: 'where', text: where });
  if (reader.peek().kind === 'end') return null;
  const parser = new Parser(reader, context);
  const filter = parser.either(0);
  if (reader.peek().kind !== 'end') throw reader.error('and, or, or the end');
  return filter;
}

/** Recursive descent. The depth is checked at each parenthesis and each `not`, so that no text can exhaust the stack. */
class Parser {
  readonly #reader: Reader;
  readonly #context: Context;
  #comparisons = 0;

  constructor(reader: Reader, context: Context) {
    this.#reader = reader;
    this.#context = context;
  }

  either(depth: number): Filter {
    return this.#chain('or', () => this.#chain('and', () => this.#term(depth)));
  }

  #chain(kind: 'and' | 'or', term: () => Filter): Filter {
    const terms = [term()];
    while (this.#reader.takeIf(kind)) terms.push(term());
    return terms.length === 1 ? terms[0]! : { kind, terms };
  }

  #term(depth: number): Filter {
    const token = this.#reader.peek();
    if (this.#reader.takeIf('not')) return { kind: 'not', term: this.#term(this.#deeper(depth, token)) };
    if (!this.#reader.takeIf('(')) return this.#comparison();
    const inside = this.either(this.#deeper(depth, token));
    this.#reader.need(')', 'and, or, or )');
    return inside;
  }

  #deeper(depth: number, token: Token): number {
    if (depth === MAX_DEPTH) throw this.#reader.error(`at most ${MAX_DEPTH} levels of parentheses and not`, token);
    return depth + 1;
  }

  #comparison(): Comparison {
    if (++this.#comparisons > MAX_COMPARISONS) throw this.#reader.error(`at most ${MAX_COMPARISONS} comparisons`);
    const field = this.#reader.field(this.#context.listing);
    const comparator = this.#comparator(field);
    const several = comparator === 'in' || comparator === 'not in';
    const values = several ? this.#values(field, comparator) : [this.#value(field, comparator)];
    return { kind: 'comparison', field, comparator, values };
  }

  #comparator(field: FieldRef): Comparator {
    const start = this.#reader.peek();
    const known = comparatorsOf(field);
    const comparator = this.#spelled();
    if (comparator && known.includes(comparator)) return comparator;
    const list = known.map((name) => (/[a-z]/.test(name) ? name.toUpperCase() : name)).join(', ');
    throw this.#reader.error(`one of ${list}`, start);
  }

  #spelled(): Comparator | null {
    const reader = this.#reader;
    if (reader.takeIf('not')) return reader.takeIf('in') ? 'not in' : null;
    const found = reader.take().text.toLowerCase();
    return found === '<>' ? '!=' : (COMPARATORS.find((comparator) => comparator === found) ?? null);
  }

  #values(field: FieldRef, comparator: Comparator): Value[] {
    this.#reader.need('(', '( and a list of values');
    const values = [this.#value(field, comparator)];
    while (this.#reader.takeIf(',')) {
      if (values.length === MAX_VALUES) throw this.#reader.error(`at most ${MAX_VALUES} values`);
      values.push(this.#value(field, comparator));
    }
    this.#reader.need(')', 'a comma or )');
    return values;
  }

  #value(field: FieldRef, comparator: Comparator): Value {
    const { expected, read } = literalOf(field, comparator, this.#context.environments);
    const token = this.#reader.take();
    const value = read(token);
    if (value === null) throw this.#reader.error(expected, token);
    return value;
  }
}

const COMPARATORS: Comparator[] = ['=', '!=', '<', '<=', '>', '>=', 'like', 'ilike', 'in', 'contains'];
