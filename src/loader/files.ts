import { join } from 'node:path';
import { isArtifactPath } from '../domain/manifest.ts';

/**
 * A version's verified files under one folder. Do not write to them: processes share them.
 * @example
 * const loader = await startLoader({
 *   hydrate: (_version, files) => readFile(files.path('model.txt'), 'utf8'),
 * });
 */
export interface Files {
  /** Absolute path. */
  folder: string;
  /** Returns the absolute path of an artifact such as `model.onnx`. @throws {TypeError} for an invalid artifact path */
  path(name: string): string;
}

export function filesIn(folder: string): Files {
  return {
    folder,
    path(name) {
      if (!isArtifactPath(name)) throw new TypeError(`${name} is not a valid artifact path.`);
      return join(folder, name);
    },
  };
}
