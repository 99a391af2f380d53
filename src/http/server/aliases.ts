import { DEFAULT_MODEL } from '../../domain/names.ts';

const ALIAS = '/api/registry/';
const DEFAULT = `/api/models/${DEFAULT_MODEL}/`;

/** The seeds' spelling of a path as the one it stands for: `/api/registry/models…` is the default model's versions. */
export function canonicalPath(path: string): string {
  if (!path.startsWith(ALIAS)) return path;
  const rest = path.slice(ALIAS.length);
  return DEFAULT + (rest === 'models' || rest.startsWith('models/') ? `versions${rest.slice('models'.length)}` : rest);
}

/** The other spelling of a documented path, with the model's parameter taken out; null where there is none. */
export function aliasOf(path: string): string | null {
  const prefix = '/api/models/{model}/';
  if (!path.startsWith(prefix)) return null;
  return ALIAS + path.slice(prefix.length).replace(/^versions/, 'models');
}
