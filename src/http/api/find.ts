import { requireEnvironment, requireVersion } from '../../commands/rules/known.ts';
import { Problem } from '../../domain/errors.ts';
import type { Model, VersionState } from '../../domain/model.ts';
import type { Services } from '../services.ts';

/** @throws {Problem} unknown-model */
export function findModel({ readModel }: Services, name: string): Model {
  const model = readModel.model(name);
  if (model.revision === 0) throw new Problem('unknown-model', `There is no model ${name}. See GET /api/models.`);
  return model;
}

/** @throws {Problem} unknown-model, unknown-version */
export function findVersion(services: Services, name: string, version: string): { model: Model; state: VersionState } {
  const model = findModel(services, name);
  return { model, state: requireVersion(model, version) };
}

/** @throws {Problem} unknown-environment */
export function findEnvironment({ environments }: Services, name: string): string {
  requireEnvironment(name, environments);
  return name;
}
