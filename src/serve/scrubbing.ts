import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import type { Digest } from '../domain/digest.ts';
import { digestsAfter } from '../projections/read-model/references.ts';
import { scrubBlob } from '../projections/volume/repair.ts';
import { filesWith } from '../projections/volume/version-files.ts';
import { versionsAfter } from '../projections/volume/versions.ts';
import type { VolumeProjection } from '../projections/volume/volume.ts';
import { type Walk, walkEndlessly } from '../projections/volume/walk.ts';
import type { Opened, Parts } from './parts.ts';

const HOUR_MS = 3600_000;
const PAGE = 100;

/** Reads every blob again in each period, and checks every version's folder file by file. */
export function startScrubbing(parts: Parts, files: VolumeProjection, opened: Opened): void {
  const { config, volume, projector, artifacts, metrics, log } = parts;
  const period = config.REGISTRY_SCRUB_HOURS * HOUR_MS;
  if (period === 0) return;
  const { readModel } = projector;
  const stop = new AbortController();
  const blobs: Walk = {
    name: 'blobs',
    first: '',
    after: (key) => digestsAfter(readModel.db, key, PAGE).map((digest) => ({ key: digest, visit: () => blob(digest) })),
  };
  const folders: Walk = {
    name: 'folders',
    first: '0',
    after: (key) =>
      versionsAfter(readModel.db, Number(key), PAGE).map(({ model, version, revision }) => ({
        key: String(revision),
        visit: () => files.scrub(model, version, stop.signal),
      })),
  };
  const walking = walkEndlessly([blobs, folders], {
    period,
    file: join(volume, '.signalbox', 'scrub.json'),
    ready: projector.complete, // one that is being made anew lacks versions
    stop: stop.signal,
    log,
  });
  opened(() => {
    stop.abort();
    return walking;
  });

  async function blob(digest: Digest): Promise<void> {
    const started = performance.now();
    const result = await scrubBlob(digest, {
      volume,
      artifacts,
      files: (wanted) => filesWith(wanted, volume, readModel),
      check: ({ model, version }) => files.check(model, version),
      readStore: false, // every server would read all of it
      stop: stop.signal,
    });
    metrics.scrubbed(result);
    if (result === 'intact') return;
    const latency_ms = Math.round(performance.now() - started);
    const what = { event_type: 'blob.scrubbed', request_id: randomUUID(), actor: 'registry' };
    const line = { ...what, result, digest, latency_ms };
    if (result === 'restored') log.warn(line, 'bytes were damaged or missing, and restored from a version’s folder');
    else log.error(line, `the bytes of published versions are ${result}; send them again, or copy them from a backup`);
  }
}
