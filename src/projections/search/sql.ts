import type { Connection } from '../read-model/connection.ts';

export type SqlValue = string | number;

/** A piece of SQL and the values of its parameters. Only `sql` makes one, so a value can never become part of the text. */
export interface Sql {
  text: string;
  values: SqlValue[];
}

/**
 * Makes SQL of a template: a piece of SQL is inserted, any other value becomes a parameter.
 *
 * @example sql`SELECT 1 FROM version v WHERE ${sql`v.status`} = ${'ready'}`
 */
export function sql(strings: TemplateStringsArray, ...parts: (Sql | SqlValue)[]): Sql {
  const pieces = parts.map((part) => (typeof part === 'object' ? part : { text: '?', values: [part] }));
  const text = strings.reduce((before, string, i) => before + pieces[i - 1]!.text + string);
  return { text, values: pieces.flatMap(({ values }) => values) };
}

export function joined(pieces: Sql[], separator: ' AND ' | ' OR ' | ' UNION ' | ' INTERSECT ' | ', ' | ''): Sql {
  return {
    text: pieces.map(({ text }) => text).join(separator),
    values: pieces.flatMap(({ values }) => values),
  };
}

/** Joins conditions; none are always true. */
export function all(conditions: Sql[]): Sql {
  return conditions.length === 0 ? sql`1` : joined(conditions, ' AND ');
}

export function list(values: SqlValue[]): Sql {
  return joined(
    values.map((value) => sql`${value}`),
    ', ',
  );
}

/** Returns the rows of a query. The caller states their type: it wrote the columns. */
export function rowsOf<Row>(db: Connection, { text, values }: Sql): Row[] {
  return db.query<Row>(text).all(...values);
}

export function rowOf<Row>(db: Connection, { text, values }: Sql): Row | null {
  return db.query<Row>(text).get(...values);
}
