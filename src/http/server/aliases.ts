import { DEFAULT_MODEL } from '../../domain/names.ts';

const ALIAS = '/api/registry/';
const DEFAULT = `/api/models/${DEFAULT_MODEL}/`;

/** Returns the canonical form of a path: `/api/registry/models…` stands for the versions of the default model. */
export function canonicalPath(path: string): string {
  if (!path.startsWith(ALIAS)) return path;
  const rest = path.slice(ALIAS.length);
  return DEFAULT + (rest === 'models' || rest.startsWith('models/') ? `versions${rest.slice('models'.length)}` : rest);
}

/** Returns the alias of a documented path, which has no parameter for the model; null if there is none. */
export function aliasOf(path: string): string | null {
  const prefix = '/api/models/{model}/';
  if (!path.startsWith(prefix)) return null;
  return ALIAS + path.slice(prefix.length).replace(/^versions/, 'models');
}
