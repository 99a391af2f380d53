import { lstat } from 'node:fs/promises';
import { join, relative, sep } from 'node:path';
import { DEFAULT_MODEL } from '../../domain/names.ts';
import { isErrno } from '../../files/errno.ts';

/** Returns the folder of a model: the volume itself for the default model, `models/<name>` for others. */
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
 * Returns the first link or file in the path of a folder on the volume, or null. Writing through a link would write
 * elsewhere.
 *
 * @param passed folders that were found in such paths a moment ago, and need not be looked at again; those found are added
 */
export async function obstacleTo(
  volume: string,
  folder: string,
  passed: Set<string> = new Set(),
): Promise<string | null> {
  let path = volume;
  for (const name of relative(volume, folder).split(sep).filter(Boolean)) {
    path = join(path, name);
    if (passed.has(path)) continue;
    try {
      if (!(await lstat(path)).isDirectory()) return path;
      passed.add(path);
    } catch (error) {
      if (isErrno(error, 'ENOENT')) return null;
      throw error;
    }
  }
  return null;
}
