import { dirname, join, parse, resolve } from 'node:path';
import { clause } from '../domain/clause.ts';
import type { Engine } from './engine.ts';
import { failureOf, NotReady } from './failure.ts';
import type { Files } from './files.ts';
import type { Hydration } from './load.ts';
import { createLoadedVersion, type LeasedVersion, type VersionInfo } from './loaded-version.ts';
import type { LoaderLog } from './log.ts';
import { initialStatus } from './status.ts';

const NOTHING = { requires: {}, metrics: {}, params: {}, tags: {}, lineage: {} };
/** Describes a file that was never published. */
const UNPUBLISHED: Omit<VersionInfo, 'model'> = {
  version: 'legacy',
  manifest_digest: `sha256:${'0'.repeat(64)}`,
  manifest: { flavor: 'custom', artifacts: [], signature: null, ...NOTHING },
};

/**
 * Serves one local file: no registry is contacted and nothing is verified. The service's code needs no change: the path of
 * any `model.…` is that file, and other names are files in its folder.
 */
export function startLegacy<M>(path: string, model: string, service: Hydration<M>, log: LoaderLog): Engine<M> {
  let status = initialStatus('loading');
  let leased: LeasedVersion<M> | null = null;
  const stop = new AbortController();
  const info = { model, ...UNPUBLISHED };
  const loading = (async () => {
    const files = legacyFiles(resolve(path));
    const hydrated = await service.hydrate(info, files, stop.signal);
    const failed = (err: unknown) => log.error({ err }, 'the model could not be disposed of');
    const dispose = service.dispose ?? (() => {});
    leased = createLoadedVersion(info, files, hydrated, { dispose, failed, clock: () => performance.now() });
    const current = { version: info.version, manifest_digest: info.manifest_digest, revision: 0 };
    status = { ...status, state: 'ready', since: new Date().toISOString(), current };
    return leased.loaded;
  })();
  loading.catch((err: unknown) => {
    const { code, message } = failureOf(err, 'hydrate-failed');
    const at = new Date().toISOString();
    status = { ...status, state: 'failed', since: at, error: { code, message, at } };
    log.error({ err, path }, 'the model file of SIGNALBOX_LEGACY could not be loaded');
  });

  return {
    status: () => status,
    lease() {
      if (leased) return leased.lease();
      throw new NotReady(`${path} is not loaded: ${clause(status.error?.message ?? status.state)}.`);
    },
    ready: () => loading,
    async close() {
      stop.abort();
      await loading.catch(() => {});
      await leased?.retire();
      leased = null;
    },
  };
}

function legacyFiles(path: string): Files {
  const folder = dirname(path);
  return { folder, path: (name) => (parse(name).name === 'model' ? path : join(folder, name)) };
}
