import { lstat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Artifacts } from '../../artifacts/artifacts.ts';
import { isMove, type RegistryEvent } from '../../domain/events.ts';
import { distinctBlobs } from '../../domain/manifest.ts';
import { activeVersion, type Model } from '../../domain/model.ts';
import { ifMissing } from '../../files/errno.ts';
import { pointLink } from '../../files/link.ts';
import { inParallel } from '../../structures/in-parallel.ts';
import { modelFolder, versionFolder } from './layout.ts';
import type { MissingBytes } from './missing-bytes.ts';
import type { PathWork } from './path-queue.ts';
import { removeVersion, writeVersion } from './version-folder.ts';
import { type LaidVersions, linkedVersions } from './versions.ts';

/** Files of a version that are copied to the volume at once. */
const BROUGHT_AT_ONCE = 4;

/** Returns the paths of models on the volume, each with the work that follows from the model when it runs. */
export function modelFiles(
  volume: string,
  artifacts: Pick<Artifacts, 'volume' | 'bring'>,
  bytes: MissingBytes,
  model: (name: string) => Model,
  laid: LaidVersions,
) {
  return { needed, changedBy, version, links, removed };

  /** What a model is used by: its links, and the folders that they point to, file by file. */
  function needed(name: string): PathWork[] {
    return [...linkedVersions(model(name)).map((found) => version(name, found)), ...links(name)];
  }

  function links(name: string): PathWork[] {
    const { environments } = model(name);
    return [latest(name), ...[...environments.keys()].map((environment) => active(name, environment))];
  }

  function changedBy(event: RegistryEvent): PathWork[] {
    if (isMove(event)) return [active(event.model, event.data.environment)];
    const { type, model: name, data } = event;
    if (type === 'version.archived') return [latest(name)];
    if (type !== 'version.published' && type !== 'version.restored') return [];
    return laid === 'all' ? [version(name, data.version), latest(name)] : [latest(name)];
  }

  /** @param thorough until it is aborted, also read copies that look unchanged */
  function version(name: string, version: string, thorough: AbortSignal | null = null): PathWork {
    const path = versionFolder(volume, name, version);
    const run = async () => {
      const state = model(name).version(version);
      if (!state) return { problems: [] }; // a restored log may not have it
      const lacking = await bytes.look(name, state);
      const there = distinctBlobs(state.manifest.artifacts).filter(({ digest }) => !lacking.has(digest));
      await inParallel(there, BROUGHT_AT_ONCE, ({ digest }) => artifacts.bring(digest));
      const problems = await writeVersion(path, state, artifacts.volume, lacking, thorough);
      return { problems, incomplete: lacking.size > 0 && state.status === 'ready' };
    };
    return { path, run };
  }

  /** The folder of a version that is not needed; `done` is called if it was removed. */
  function removed(name: string, version: string, done: () => void): PathWork {
    const path = versionFolder(volume, name, version);
    const run = async () => {
      const state = model(name).version(version);
      const isNeeded = !state || linkedVersions(model(name)).includes(version);
      if (!isNeeded && (await removeVersion(path, state, artifacts.volume))) done();
      return { problems: [] };
    };
    return { path, run };
  }

  function latest(name: string): PathWork {
    const path = join(modelFolder(volume, name), 'latest');
    return link(path, name, 'versions', () => model(name).latest);
  }

  function active(name: string, environment: string): PathWork {
    const path = join(modelFolder(volume, name), 'active', environment);
    return link(path, name, '../versions', () => activeVersion(model(name), environment));
  }

  /** A link to the folder of a version. It moves only after the folder is laid. */
  function link(path: string, name: string, versions: string, target: () => string | null): PathWork {
    let chosen: string | null = null;
    const first = async () => {
      // Not asked again before the link moves: the folder of a version that became active meanwhile may be missing.
      chosen = target();
      const isLaid = chosen === null || (await exists(versionFolder(volume, name, chosen)));
      return isLaid ? null : version(name, chosen!);
    };
    const run = async () => {
      // The old version stays in use until the bytes of the new one are there.
      if (chosen !== null && !(await exists(versionFolder(volume, name, chosen))))
        return { problems: [], incomplete: true };
      await pointLink(path, chosen && `${versions}/${chosen}`);
      return { problems: [] };
    };
    return { path, first, run };
  }
}

/** @throws {Error} if it cannot be found out */
export function exists(path: string): Promise<boolean> {
  return lstat(path).then(() => true, ifMissing(false));
}
