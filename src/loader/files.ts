import { join } from 'node:path';
import { isArtifactPath } from '../domain/manifest.ts';

/** A version's files, verified, under one folder. */
export interface Files {
  folder: string;
  path(name: string): string;
}

export function filesIn(folder: string): Files {
  return {
    folder,
    path(name) {
      if (!isArtifactPath(name)) throw new TypeError(`${name} is no path inside a version`);
      return join(folder, name);
    },
  };
}
