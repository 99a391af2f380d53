import { requireEnvironment, requireVersion } from '../../commands/rules/known.ts';
import { Problem } from '../../domain/errors.ts';
import type { Model, VersionState } from '../../domain/model.ts';
import { entryOf, type ModelEntry } from '../../projections/registry.ts';
import type { Services } from '../services.ts';

/** @throws {Problem} unknown-model */
export function findModel({ registry }: Services, name: string): ModelEntry {
  const entry = entryOf(registry(), name);
  if (entry.model.revision === 0) throw new Problem('unknown-model', `There is no model ${name}. See GET /api/models.`);
  return entry;
}

/** @throws {Problem} unknown-model, unknown-version */
export function findVersion(services: Services, name: string, version: string): { model: Model; state: VersionState } {
  const { model } = findModel(services, name);
  return { model, state: requireVersion(model, version) };
}

/** @throws {Problem} unknown-environment */
export function findEnvironment({ environments }: Services, name: string): string {
  requireEnvironment(name, environments);
  return name;
}
