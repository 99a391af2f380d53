import { isVersion } from '../domain/versions.ts';
import { type FieldType, typeOf } from './fields.ts';
import type { Comparator, FieldRef, Value } from './filter.ts';
import { periodOf } from './moment.ts';
import type { Token } from './tokens.ts';
import { wordsOf } from './words.ts';

export const MAX_PATTERN = 256;

/** A kind of literal: how a token is read, null if it is something else, and how messages name it. */
interface Literal {
  expected: string;
  read(token: Token): Value | null;
}

/** Returns the literals that a comparison takes. `environments` are the known ones; without them, any name is taken. */
export function literalOf(field: FieldRef, comparator: Comparator, environments?: readonly string[]): Literal {
  if (comparator === 'like' || comparator === 'ilike') return pattern;
  const type = typeOf(field);
  return type === 'environment' && environments ? oneOf(environments) : LITERALS[type];
}

const pattern = text(`a pattern in quotes of at most ${MAX_PATTERN} characters`, ({ length }) => length <= MAX_PATTERN);

const LITERALS: Record<FieldType, Literal> = {
  text: text('a text in quotes'),
  number: { expected: 'a number', read: numberOf },
  scalar: {
    expected: 'a number, a text in quotes, true or false',
    read: (token) => numberOf(token) ?? flagOf(token) ?? textOf(token),
  },
  version: text("a version in quotes such as '1.2.0'", isVersion),
  status: oneOf(['ready', 'archived']),
  time: text(
    "a date or an RFC 3339 time in quotes such as '2026-05-01T12:00:00Z'",
    (value) => periodOf(value) !== null,
  ),
  notes: text('a text in quotes with at least one letter or digit', (value) => wordsOf(value).length > 0),
  environment: text('the name of an environment in quotes'),
};

function text(expected: string, accepts: (value: string) => boolean = () => true): Literal {
  const read = (token: Token) => {
    const value = textOf(token);
    return value !== null && accepts(value) ? value : null;
  };
  return { expected, read };
}

function oneOf(names: readonly string[]): Literal {
  return text(names.map((name) => `'${name}'`).join(' or '), (value) => names.includes(value));
}

function textOf(token: Token): string | null {
  return token.kind === 'quoted' && token.quote !== '`' ? token.text : null;
}

function numberOf(token: Token): number | null {
  return token.kind === 'number' ? token.value : null;
}

/** Booleans of params are compared as text. */
function flagOf({ kind, text }: Token): string | null {
  const word = kind === 'word' ? text.toLowerCase() : '';
  return word === 'true' || word === 'false' ? word : null;
}
