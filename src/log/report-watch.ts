import { HeardReport, InstanceName, type LoaderReport } from '../domain/fleet.ts';
import { parsedOrNull } from '../domain/json.ts';
import { isModelName } from '../domain/names.ts';
import { type BucketEntry, watchBucket } from './bucket-watch.ts';
import type { Nats } from './connection.ts';
import { BUCKET } from './report-streams.ts';
import type { Tail, TailState } from './supervise.ts';

/** A report from the bucket; `report` is null after the loader has stopped. */
export interface ReceivedReport extends Pick<BucketEntry, 'at' | 'replayed'> {
  model: string;
  instance: string;
  report: LoaderReport | null;
}

/** Callbacks of a watch. All calls are synchronous. There is no call when the bucket drops a report because of its age. */
export interface ReportListener {
  report(received: ReceivedReport): void;
  state(state: TailState, why?: unknown): void;
}

/** Watches the reports until closed. */
export function watchReports(nats: Nats, prepare: () => Promise<void>, { report, state }: ReportListener): Tail {
  const entry = (entry: BucketEntry) => {
    const received = reportFrom(entry);
    if (received) report(received);
  };
  return watchBucket(nats, BUCKET, prepare, { entry, state });
}

/** Returns null for an entry that is not a report. It was written directly to NATS; there is no caller to refuse. */
function reportFrom({ key, value, at, replayed }: BucketEntry): ReceivedReport | null {
  const [model = '', instance = '', ...more] = key.split('.');
  if (!isModelName(model) || !InstanceName.safeParse(instance).success || more.length > 0) return null;
  const received = { model, instance, at, replayed };
  if (value === null) return { ...received, report: null };
  const report = parsedOrNull(HeardReport, value);
  return report && { ...received, report };
}
