import type { EventType } from '../../domain/events.ts';
import type { Connection } from './connection.ts';

/** Returns the first revisions after one whose events have one of the types, in the order of the log. */
export function revisionsAfter(db: Connection, revision: number, types: readonly EventType[], limit: number): number[] {
  const sql = `SELECT revision FROM event
    WHERE revision > ? AND type IN (SELECT value FROM json_each(?)) ORDER BY revision LIMIT ?`;
  const rows = db.query<{ revision: number }>(sql).all(revision, JSON.stringify(types), limit);
  return rows.map((row) => row.revision);
}
