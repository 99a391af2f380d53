import { randomUUID } from 'node:crypto';
import type { Logger } from 'pino';
import type { Collector } from '../artifacts/collector.ts';
import { KEPT_MS, type UnfinishedUploads } from '../artifacts/unfinished-uploads.ts';
import type { Opened } from './parts.ts';

const EVERY_MS = 3600_000;

/** Deletes blobs that no version refers to, and uploads that nobody goes on with, now and every hour. */
export function startCollecting(
  collector: Collector,
  uploads: Pick<UnfinishedUploads, 'sweep'>,
  log: Logger,
  opened: Opened,
): void {
  let collecting = collect();
  const timer = setInterval(() => {
    collecting = collect();
  }, EVERY_MS);
  opened(() => {
    clearInterval(timer);
    return collecting;
  });

  async function collect(): Promise<void> {
    const started = performance.now();
    const line = { event_type: 'blobs.collected', request_id: randomUUID(), actor: 'registry' };
    const fields = (result: string) => ({ ...line, result, latency_ms: Math.round(performance.now() - started) });
    try {
      const deleted = await collector.collect(Date.now());
      if (deleted > 0) log.info({ ...fields('ok'), deleted }, 'deleted blobs that no version refers to');
      const swept = await uploads.sweep(Date.now() - KEPT_MS);
      if (swept > 0) log.info({ ...fields('ok'), deleted: swept }, 'deleted uploads that nobody went on with');
    } catch (err) {
      log.error({ ...fields('internal'), err }, 'unused blobs and uploads could not be deleted');
    }
  }
}
