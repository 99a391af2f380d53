import { lstat } from 'node:fs/promises';
import { join, relative, sep } from 'node:path';
import { DEFAULT_MODEL } from '../../domain/names.ts';
import { isErrno } from '../../files/errno.ts';

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

/**
 * What stands in the way of a folder on the volume: a link or a file in the place of one of its folders. Whoever writes
 * through a link writes elsewhere.
 */
export async function obstacleTo(volume: string, folder: string): Promise<string | null> {
  let path = volume;
  for (const name of relative(volume, folder).split(sep).filter(Boolean)) {
    path = join(path, name);
    try {
      if (!(await lstat(path)).isDirectory()) return path;
    } catch (error) {
      if (isErrno(error, 'ENOENT')) return null;
      throw error;
    }
  }
  return null;
}
