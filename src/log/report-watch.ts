import { HeardReport, InstanceName, type LoaderReport } from '../domain/fleet.ts';
import { isModelName } from '../domain/names.ts';
import { type BucketEntry, watchBucket } from './bucket-watch.ts';
import type { Nats } from './connection.ts';
import { BUCKET } from './report-streams.ts';
import type { Tail, TailState } from './supervise.ts';

/** What was heard of a loader; without a report: it has stopped. */
export interface Heard {
  model: string;
  instance: string;
  report: LoaderReport | null;
  /** By the clock of NATS. */
  at: Date;
  /** Whether this was there before anybody listened, and so may be old. */
  replayed: boolean;
}

/** Who watches. All calls are synchronous. Nothing tells that a report has grown too old. */
export interface ReportListener {
  heard(heard: Heard): void;
  state(state: TailState, why?: unknown): void;
}

/** Follows the reports for ever. */
export function watchReports(nats: Nats, prepare: () => Promise<void>, { heard, state }: ReportListener): Tail {
  const entry = (entry: BucketEntry) => {
    const found = heardIn(entry);
    if (found) heard(found);
  };
  return watchBucket(nats, BUCKET, prepare, { entry, state });
}

/** Null for what is no report: somebody wrote past the registry, and nobody is there to refuse it to. */
function heardIn({ key, value, at, replayed }: BucketEntry): Heard | null {
  const [model = '', instance = '', ...more] = key.split('.');
  if (!isModelName(model) || !InstanceName.safeParse(instance).success || more.length > 0) return null;
  const heard = { model, instance, at, replayed };
  if (value === null) return { ...heard, report: null };
  const report = parse(value);
  return report && { ...heard, report };
}

function parse(text: string): LoaderReport | null {
  try {
    return HeardReport.parse(JSON.parse(text));
  } catch {
    return null;
  }
}
