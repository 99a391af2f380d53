import { mismatch, type Source } from './source.ts';

/**
 * A piece of a query. `word` is a keyword or a field, with its dots; `quoted` is a text in quotes without them, and `quote`
 * the kind of quotes. `at` is the index of its first character in the source.
 */
export type Token = { at: number } & (
  | { kind: 'word' | 'symbol' | 'end'; text: string }
  | { kind: 'quoted'; text: string; quote: Quote }
  | { kind: 'number'; text: string; value: number }
);
type Quote = "'" | '"' | '`';

const SPACE = /\s*/y;
const WORD = /[\p{L}_][\p{L}\p{N}_./-]*/uy;
const NUMBER = /[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?(?![\p{L}\p{N}_.])/uy;
const SYMBOL = /!=|<>|<=|>=|[=<>(),]/y;
const QUOTES = new Set<string>(["'", '"', '`']);

/** Splits a query into tokens; the last one is of the kind `end`. @throws {Problem} invalid-request */
export function tokens(source: Source): Token[] {
  const found: Token[] = [];
  let at = endOf(SPACE, source.text, 0);
  while (at < source.text.length) {
    const { token, end } = tokenAt(source, at);
    found.push(token);
    at = endOf(SPACE, source.text, end);
  }
  return [...found, { kind: 'end', text: '', at }];
}

function tokenAt(source: Source, at: number): { token: Token; end: number } {
  const { text } = source;
  if (QUOTES.has(text[at]!)) return quotedAt(source, at);
  for (const [kind, pattern] of [
    ['word', WORD],
    ['symbol', SYMBOL],
  ] as const) {
    const end = endOf(pattern, text, at);
    if (end > at) return { token: { kind, text: text.slice(at, end), at }, end };
  }
  return numberAt(source, at);
}

function numberAt(source: Source, at: number): { token: Token; end: number } {
  const end = endOf(NUMBER, source.text, at);
  const text = source.text.slice(at, end);
  if (end === at) throw mismatch(source, at, 'a field, a value in quotes, a number or a comparator');
  if (!Number.isFinite(Number(text))) throw mismatch(source, at, 'a number that a double can hold');
  // Without the sign of zero: -0 equals 0 everywhere else.
  return { token: { kind: 'number', text, value: Number(text) + 0, at }, end };
}

/** Reads up to the closing quote; two of them stand for one. */
function quotedAt(source: Source, at: number): { token: Token; end: number } {
  const quote = source.text[at] as Quote;
  let text = '';
  for (let start = at + 1; ; ) {
    const close = source.text.indexOf(quote, start);
    if (close < 0) throw mismatch(source, source.text.length, `a closing ${quote}`);
    text += source.text.slice(start, close);
    if (source.text[close + 1] !== quote) return { token: { kind: 'quoted', text, quote, at }, end: close + 1 };
    text += quote;
    start = close + 2;
  }
}

function endOf(pattern: RegExp, text: string, at: number): number {
  pattern.lastIndex = at;
  return pattern.test(text) ? pattern.lastIndex : at;
}
