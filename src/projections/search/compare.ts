import { typeOf } from '../../search/fields.ts';
import type { Comparison, Value } from '../../search/filter.ts';
import { list, type Sql, sql } from './sql.ts';

/** Returns the condition that a comparison states about an expression that is a text or a number. */
export function compared(expression: Sql, comparison: Comparison): Sql {
  const { comparator, values } = comparison;
  const value = values[0]!;
  switch (comparator) {
    case '=':
    case 'in':
      return sql`${expression} IN (${list(spellings(comparison))})`;
    case '!=':
    case 'not in':
      return sql`${expression} NOT IN (${list(spellings(comparison))})`;
    case 'like':
      return sameType(expression, comparison, sql`${expression} GLOB ${globFrom(String(value))}`);
    case 'ilike':
      return sameType(expression, comparison, sql`${expression} LIKE ${value}`);
    case 'contains':
      throw new Error('contains is a condition on the full text');
    default:
      return sameType(expression, comparison, ranged(expression, comparator, value));
  }
}

export function ranged(expression: Sql, comparator: '<' | '<=' | '>' | '>=', value: Value): Sql {
  switch (comparator) {
    case '<':
      return sql`${expression} < ${value}`;
    case '<=':
      return sql`${expression} <= ${value}`;
    case '>':
      return sql`${expression} > ${value}`;
    case '>=':
      return sql`${expression} >= ${value}`;
  }
}

/** SQLite sorts all numbers before all texts. A param may be either, so a range ends where the other type begins. */
function sameType(expression: Sql, { field, values }: Comparison, condition: Sql): Sql {
  if (typeOf(field) !== 'scalar') return condition;
  return typeof values[0] === 'number'
    ? sql`(${condition} AND ${expression} < ${''})`
    : sql`(${condition} AND ${expression} >= ${''})`;
}

/** For equality, a param's number and the text that spells it are the same: MLflow's clients send every param as text. */
function spellings({ field, values }: Comparison): Value[] {
  return typeOf(field) === 'scalar' ? values.flatMap((value) => [value, ...otherSpelling(value)]) : values;
}

function otherSpelling(value: Value): Value[] {
  if (typeof value === 'number') return [String(value)];
  return Number.isFinite(Number(value)) && String(Number(value)) === value ? [Number(value)] : [];
}

/** SQLite's LIKE ignores the case of ASCII letters; GLOB does not. */
function globFrom(pattern: string): string {
  return pattern.replace(/[*?[]/g, '[$&]').replaceAll('%', '*').replaceAll('_', '?');
}
