import { IN_MEMORY } from '../../src/projections/read-model/file.ts';
import { ReadModel } from '../../src/projections/read-model/read-model.ts';

const log = { warn() {}, error() {} };

/** Returns an empty read model in memory. */
export function newReadModel(generation = 0): ReadModel {
  const readModel = new ReadModel({ path: IN_MEMORY, log });
  if (generation > 0) readModel.reset(generation);
  return readModel;
}
