import { resolve } from 'node:path';
import type { Logger } from 'pino';
import { nameOf, parseStoreAddress } from '../artifacts/address.ts';
import { type Artifacts, onVolume } from '../artifacts/artifacts.ts';
import { type Cache, createCache } from '../artifacts/cache.ts';
import { openBucket, openStore } from '../artifacts/open.ts';
import { openReferences, type References } from '../artifacts/references/references.ts';
import { DISK_RESERVE_BYTES } from '../artifacts/reserve.ts';
import { openVolumeStore } from '../artifacts/stores/volume.ts';
import { openWriter } from '../artifacts/writer.ts';
import type { ServerConfig } from '../config.ts';
import { connectNats, type Nats, parseNatsUrl } from '../log/connection.ts';
import type { Metrics } from '../metrics/metrics.ts';
import type { ReadModel } from '../projections/read-model/read-model.ts';
import { referencesTo } from '../projections/read-model/references.ts';
import type { Opened } from './parts.ts';
import { watchOwner } from './store-owner.ts';

const GIB = 1024 ** 3;
const CONNECT_MS = 30_000;

export interface ArtifactParts {
  artifacts: Artifacts;
  references: References;
  /** The copies of a store on the volume; null if the volume is the store. */
  cache: Cache | null;
  /** What is wrong with the store, as sentences. */
  storeProblems(): string[];
}

interface Options {
  config: ServerConfig;
  volume: string;
  nats: Nats;
  readModel: Pick<ReadModel, 'position' | 'db'>;
  metrics: Pick<Metrics, 'artifactRead'>;
  log: Logger;
}

/**
 * Opens the store of artifacts, and the cache on the volume if the store is elsewhere. A store that cannot be reached does
 * not prevent a start: reads of what was copied go on.
 *
 * @throws {Error} if the store belongs to another log, or its SDK is not installed
 */
export async function openArtifacts(options: Options, opened: Opened): Promise<ArtifactParts> {
  const { config, volume, nats, readModel, metrics, log } = options;
  const { REGISTRY_REFERENCES: prefixes, REGISTRY_CACHE_GIB } = config;
  const address = parseStoreAddress(config.REGISTRY_ARTIFACTS);
  const writer = openWriter();
  opened(() => writer.close());
  const files = await openVolumeStore(volume, DISK_RESERVE_BYTES, 0, writer);
  const references = openReferences({
    prefixes,
    openBucket: (bucket) => openBucket(bucket, { nats: null, connectTo }),
    referencesTo: (digest) => referencesTo(readModel.db, digest),
  });
  opened(() => references.close());
  const isVolume = address.kind === 'file' && (address.folder === null || resolve(address.folder) === volume);
  if (isVolume) {
    const artifacts = onVolume(files, references.addTo(files));
    return { artifacts, references, cache: null, storeProblems: () => [] };
  }
  const store = await openStore(address, { nats: nats.nc, connectTo, writer });
  opened(() => store.close());
  const name = nameOf(address);
  const owner = await watchOwner(store, { name, ...options }, opened);
  const guarded = { ...store, put: owner.guarding(store.put) };
  const cache = createCache(guarded, files, {
    largest: (REGISTRY_CACHE_GIB * GIB) / 4,
    read: metrics.artifactRead,
    origin: references.addTo(store),
  });
  opened(() => cache.close());
  log.info({ store: name }, 'artifacts are kept in a store');
  return { artifacts: cache, references, cache, storeProblems: owner.problems };
}

export async function connectTo(url: string) {
  const { nc } = await connectNats(parseNatsUrl(url), 'signalbox artifacts', AbortSignal.timeout(CONNECT_MS));
  return nc;
}
