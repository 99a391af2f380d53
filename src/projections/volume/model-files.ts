import { join } from 'node:path';
import type { VolumeStore } from '../../artifacts/stores/volume.ts';
import { isMove, type RegistryEvent } from '../../domain/events.ts';
import { activeVersion, type Model } from '../../domain/model.ts';
import { pointLink } from '../../files/link.ts';
import { modelFolder, versionFolder } from './layout.ts';
import type { MissingBytes } from './missing-bytes.ts';
import type { PathWork } from './path-queue.ts';
import { writeVersion } from './version-folder.ts';

/** Returns the paths of models on the volume, each with the work that follows from the model when it runs. */
export function modelFiles(
  volume: string,
  store: VolumeStore,
  bytes: MissingBytes,
  model: (name: string) => Model,
  versionsOf: (name: string) => string[],
) {
  return { all, changedBy, version };

  function all(name: string): PathWork[] {
    const { environments } = model(name);
    return [
      ...versionsOf(name).map((found) => version(name, found)),
      latest(name),
      ...[...environments.keys()].map((environment) => active(name, environment)),
    ];
  }

  function changedBy(event: RegistryEvent): PathWork[] {
    if (isMove(event)) return [active(event.model, event.data.environment)];
    const { type, model: name, data } = event;
    if (type === 'version.published' || type === 'version.restored') return [version(name, data.version), latest(name)];
    return type === 'version.archived' ? [latest(name)] : [];
  }

  function version(name: string, version: string): PathWork {
    const path = versionFolder(volume, name, version);
    const run = async () => {
      const state = model(name).version(version);
      if (!state) return { problems: [] }; // a restored log may not have it
      const lacking = await bytes.look(name, state);
      const problems = await writeVersion(path, state, store, lacking);
      return { problems, incomplete: lacking.size > 0 && state.status === 'ready' };
    };
    return { path, run };
  }

  function latest(name: string): PathWork {
    const path = join(modelFolder(volume, name), 'latest');
    return link(path, () => {
      const version = model(name).latest;
      return version && `versions/${version}`;
    });
  }

  function active(name: string, environment: string): PathWork {
    const path = join(modelFolder(volume, name), 'active', environment);
    return link(path, () => {
      const version = activeVersion(model(name), environment);
      return version ? `../versions/${version}` : null;
    });
  }
}

function link(path: string, target: () => string | null): PathWork {
  const run = async () => {
    await pointLink(path, target());
    return { problems: [] };
  };
  return { path, run };
}
