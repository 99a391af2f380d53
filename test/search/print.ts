import { isAttribute } from '../../src/search/fields.ts';
import type { Comparison, FieldRef, Filter, OrderTerm, Value } from '../../src/search/filter.ts';

/** Returns a text that parses to the filter: one spelling for each filter. */
export function print(filter: Filter): string {
  if (filter.kind === 'comparison') return printComparison(filter);
  if (filter.kind === 'not') return `not ${operand(filter.term)}`;
  return filter.terms.map(operand).join(` ${filter.kind} `);
}

export function printOrder(terms: OrderTerm[]): string {
  return terms.map(({ field, descending }) => `${printField(field)} ${descending ? 'desc' : 'asc'}`).join(', ');
}

function operand(filter: Filter): string {
  return filter.kind === 'and' || filter.kind === 'or' ? `(${print(filter)})` : print(filter);
}

function printComparison({ field, comparator, values }: Comparison): string {
  const list = values.map(printValue).join(', ');
  const several = comparator === 'in' || comparator === 'not in';
  return `${printField(field)} ${comparator} ${several ? `(${list})` : list}`;
}

function printField(field: FieldRef): string {
  return isAttribute(field) ? `${field.name}.\`${field.key.replaceAll('`', '``')}\`` : field.name;
}

function printValue(value: Value): string {
  return typeof value === 'number' ? String(value) : `'${value.replaceAll("'", "''")}'`;
}
