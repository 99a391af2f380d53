import type { JsMsg } from '@nats-io/jetstream';
import { HeardReport, InstanceName, type LoaderReport } from '../domain/fleet.ts';
import { isModelName } from '../domain/names.ts';
import type { Nats } from './connection.ts';
import { BUCKET, BUCKET_STREAM } from './report-streams.ts';
import { lost, type RoundEnd, rejectionOf, supervise, type Tail, type TailState } from './supervise.ts';

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

/** Follows the bucket for ever. The KV client's own watch is not watched itself: it ends unheard with the node that hosts it. */
export function watchReports(nats: Nats, prepare: () => Promise<void>, listener: ReportListener): Tail {
  return supervise(nats, (over) => watch(nats, prepare, listener, over), listener.state);
}

async function watch(
  nats: Nats,
  prepare: () => Promise<void>,
  listener: ReportListener,
  over: AbortSignal,
): Promise<RoundEnd> {
  const aborted = rejectionOf(over);
  await Promise.race([aborted, prepare()]);
  const options = { opt_start_seq: 1, inactive_threshold: 30_000 };
  const consumer = await Promise.race([aborted, nats.js.consumers.get(BUCKET_STREAM, options)]);
  let { num_pending: earlier } = await consumer.info(true);
  listener.state('live');
  const callback = (m: JsMsg) => {
    const replayed = earlier-- > 0;
    const heard = heardIn(m, replayed);
    if (heard) listener.heard(heard);
  };
  const messages = await consumer.consume({ callback, max_messages: 1_000, expires: 5_000 });
  try {
    const why = await Promise.race([aborted, lost(messages), messages.closed()]);
    if (why instanceof Error) throw why;
  } finally {
    messages.stop();
  }
  return { diverged: false, progressed: true };
}

/** Null for what is no report: somebody wrote past the registry, and nobody is there to refuse it to. */
function heardIn(m: JsMsg, replayed: boolean): Heard | null {
  const [model = '', instance = '', ...more] = m.subject.slice(`$KV.${BUCKET}.`.length).split('.');
  if (!isModelName(model) || !InstanceName.safeParse(instance).success || more.length > 0) return null;
  const heard = { model, instance, at: m.time, replayed };
  if (m.headers?.get('KV-Operation')) return { ...heard, report: null };
  const report = parse(m.string());
  return report && { ...heard, report };
}

function parse(text: string): LoaderReport | null {
  try {
    return HeardReport.parse(JSON.parse(text));
  } catch {
    return null;
  }
}
