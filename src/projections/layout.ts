import { join } from 'node:path';
import { DEFAULT_MODEL } from '../domain/names.ts';

/** Where a model's folders are: the default model's at the top of the volume, every other one's under `models/`. */
export function modelFolder(volume: string, model: string): string {
  return model === DEFAULT_MODEL ? volume : join(volume, 'models', model);
}

export function versionsFolder(volume: string, model: string): string {
  return join(modelFolder(volume, model), 'versions');
}

export function versionFolder(volume: string, model: string, version: string): string {
  return join(versionsFolder(volume, model), version);
}
