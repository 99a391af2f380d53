import type { VersionState } from '../../domain/model.ts';
import type { Context } from '../command.ts';
import { type Check, failed, passed } from './check.ts';

/** A version that is to become active is in use and has all of its bytes; `fields` are added to a refusal. */
export function checkLoadable(target: VersionState, context: Context, fields: Record<string, unknown> = {}): Check[] {
  return [checkNotArchived(target, fields), checkBytes(target, context, fields)];
}

function checkNotArchived({ version, status }: VersionState, fields: Record<string, unknown>): Check {
  if (status === 'ready') return passed('not-archived', `${version} is in use.`);
  const detail = `${version} is archived; unarchive it first.`;
  return failed('not-archived', 'version-archived', detail, { version, ...fields });
}

function checkBytes({ version, manifest }: VersionState, { missing }: Context, fields: Record<string, unknown>): Check {
  const first = manifest.artifacts.find(({ digest }) => missing.some((artifact) => artifact.digest === digest));
  if (!first) return passed('bytes-present', `The bytes of all ${manifest.artifacts.length} files are in the store.`);
  const { path, digest, source } = first;
  if (source !== undefined) {
    const gone = `The object of ${path} of ${version}, ${source}, is gone or changed, or this registry may not read it.`;
    return failed('bytes-present', 'reference-changed', gone, { version, path, digest, source, ...fields });
  }
  const detail = `The bytes of ${path} of ${version} are not in the store.`;
  return failed('bytes-present', 'artifact-missing', detail, { version, path, digest, ...fields });
}
