import type { Digest } from '../../domain/digest.ts';
import type { Reference } from '../../domain/reference.ts';
import type { Connection } from './connection.ts';

/** Whether a published version refers to these bytes. */
export function isReferenced(db: Connection, digest: Digest): boolean {
  return db.query('SELECT 1 FROM artifact WHERE digest = ? LIMIT 1').get(digest) !== null;
}

/** Returns the names of the models with a version that refers to these bytes. */
export function modelsWith(db: Connection, digest: Digest): string[] {
  const sql = 'SELECT m.name FROM artifact a JOIN model m ON m.id = a.model WHERE a.digest = ?';
  return db
    .query<{ name: string }>(sql)
    .all(digest)
    .map(({ name }) => name);
}

/** Returns the digests of bytes that versions refer to, from the first one after `digest`, in order. */
export function digestsAfter(db: Connection, digest: string, limit: number): Digest[] {
  const sql = 'SELECT DISTINCT digest FROM artifact WHERE digest > ? ORDER BY digest LIMIT ?';
  return db
    .query<{ digest: Digest }>(sql)
    .all(digest, limit)
    .map((row) => row.digest);
}

/** Returns where these bytes are outside of the store, according to the versions that refer to them. */
export function referencesTo(db: Connection, digest: Digest): Reference[] {
  return db.query<Reference>('SELECT source, digest, size, etag FROM reference WHERE digest = ?').all(digest);
}
