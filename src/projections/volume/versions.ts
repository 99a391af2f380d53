import { activeVersion, type Model } from '../../domain/model.ts';
import type { Connection } from '../read-model/connection.ts';
import { modelId } from '../read-model/models.ts';

/** The versions whose folders are laid: every one, or those that are active in an environment or `latest`. */
export const LAID_VERSIONS = ['all', 'active'] as const;
export type LaidVersions = (typeof LAID_VERSIONS)[number];

/** Returns the versions of a model that its links point to. */
export function linkedVersions(model: Model): string[] {
  const active = [...model.environments.keys()].map((environment) => activeVersion(model, environment));
  return [...new Set([model.latest, ...active])].filter((version) => version !== null);
}

/** Returns the number of versions whose folders are to be laid. */
export function countLaid(db: Connection, laid: LaidVersions): number {
  const counts = {
    all: 'SELECT coalesce(sum(versions), 0) AS count FROM model',
    active: `SELECT count(*) AS count FROM (SELECT id, latest FROM model WHERE latest IS NOT NULL
      UNION SELECT model, version FROM environment WHERE version IS NOT NULL)`,
  };
  return db.query<{ count: number }>(counts[laid]).get()!.count;
}

/** Yields the versions that are active in an environment, those of the models that changed last first. */
export function activeVersions(db: Connection): Iterable<{ model: string; version: string }> {
  const sql = `SELECT DISTINCT m.name AS model, e.version FROM model m JOIN environment e ON e.model = m.id
    WHERE e.version IS NOT NULL ORDER BY m.revision DESC`;
  return db.query<{ model: string; version: string }>(sql).iterate();
}

/** Returns the newest versions of a model that were published before a revision. */
export function versionsBefore(
  db: Connection,
  model: string,
  revision: number,
  limit: number,
): { revision: number; version: string }[] {
  const sql = `SELECT revision, version FROM version
    WHERE model = ? AND revision < ? ORDER BY revision DESC LIMIT ?`;
  return db.query<{ revision: number; version: string }>(sql).all(modelId(db, model), revision, limit);
}

export interface PublishedVersion {
  model: string;
  version: string;
  revision: number;
}

/** Returns the oldest versions of all models that were published after a revision. */
export function versionsAfter(db: Connection, revision: number, limit: number): PublishedVersion[] {
  const sql = `SELECT m.name AS model, v.version, v.revision FROM version v JOIN model m ON m.id = v.model
    WHERE v.revision > ? ORDER BY v.revision LIMIT ?`;
  return db.query<PublishedVersion>(sql).all(revision, limit);
}

/** Returns those of the names that are not published versions of a model. */
export function unpublishedOf(db: Connection, model: string, names: readonly string[]): string[] {
  const sql = `SELECT value AS name FROM json_each(?) WHERE NOT EXISTS (SELECT 1 FROM version
    WHERE model = ? AND version = value)`;
  return db
    .query<{ name: string }>(sql)
    .all(JSON.stringify(names), modelId(db, model))
    .map(({ name }) => name);
}
