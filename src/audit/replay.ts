import { modelOf } from '../log/stream.ts';
import { prevhashOf } from '../proof/chain.ts';
import type { LogSource, RawMessage } from '../proof/source.ts';
import { type Finding, Violation } from './finding.ts';
import type { Moment } from './moment.ts';
import { applyEvent } from './rules/apply.ts';
import { type AuditEvent, readEvent } from './rules/event.ts';
import { type ModelState, newModel } from './rules/state.ts';

export interface ReplayOptions {
  /** The point to stop at; default: the log's end. */
  moment?: Moment;
  /** Default: all models. */
  models?: ReadonlySet<string> | undefined;
  /** Called for every valid event, after it was applied to the model. */
  each?(event: AuditEvent, model: ModelState): void;
  /** Called for every revision before it is read, and for the revision after the last one. */
  before?(revision: number, replay: Replay): void;
  progress?(read: number, total: number): void;
}

/** The result of replaying a log from its first event. */
export interface Replay {
  models: Map<string, ModelState>;
  /** The first violation of each model and the first gaps in the revisions, in the order of the log. */
  findings: Finding[];
  /** The last revision up to the moment that belongs to one of the models. */
  revision: number;
  /** The number of valid events up to there. */
  events: number;
  /** When NATS stored the last message that was read (ms since 1970); 0 if the log is empty. */
  stored_at: number;
  /** Every selected model that occurs in the log, also after the moment. */
  names: Set<string>;
}

/** A model with a violation. Its later events are not applied. */
interface BrokenModel {
  finding: Finding;
  /** The hash of the event at which the chain broke, until the next event shows which of the two was altered. */
  suspect: string | null;
}

const MAX_GAPS = 100;

/** Reads a log from its first event to a moment, and checks every event against the events before it. */
export async function replayLog(source: LogSource, options: ReplayOptions = {}): Promise<Replay> {
  const { moment, progress } = options;
  const last = moment && 'revision' in moment ? Math.min(moment.revision, source.head) : source.head;
  const reader = createReader(options);
  if (last > 0) await readAll();
  progress?.(last, last);
  reader.end(last);
  return reader.replay;

  async function readAll(): Promise<void> {
    for await (const batch of source.batches()) {
      for (const message of batch) {
        if (message.revision > last) return;
        reader.read(message);
        if (message.revision === last) return;
      }
      progress?.(batch.at(-1)?.revision ?? 0, last);
    }
  }
}

function createReader({ moment, models: wanted, each, before }: ReplayOptions) {
  const replay: Replay = { models: new Map(), findings: [], revision: 0, events: 0, stored_at: 0, names: new Set() };
  const broken = new Map<string, BrokenModel>();
  /** Models whose remaining events are later than the moment. */
  const finished = new Set<string>();
  const until = moment && 'at' in moment ? moment.at : Number.POSITIVE_INFINITY;
  let next = 1;
  let gaps = 0;

  return { read, end, replay };

  function read(message: RawMessage): void {
    reportGap(message.revision - 1);
    before?.(message.revision, replay);
    next = message.revision + 1;
    replay.stored_at = message.stored_at.getTime();
    const name = modelOf(message.subject);
    if (wanted && !wanted.has(name)) return;
    replay.names.add(name);
    if (finished.has(name)) return;
    const failed = broken.get(name);
    if (failed) skip(failed, message);
    else check(name, message);
  }

  function check(name: string, message: RawMessage): void {
    const model = replay.models.get(name) ?? newModel(name);
    let hash: string | null = null;
    try {
      const event = readEvent(message);
      hash = event.hash;
      // Within one model, times never decrease. Across models they may.
      if (event.at > until) return void finished.add(name);
      replay.revision = message.revision;
      if (event.prevhash !== model.hash) throw chainBroken(model, event.prevhash);
      if (event.type === null) Object.assign(model, { revision: event.revision, hash: event.hash });
      else applyEvent(model, event);
      replay.models.set(name, model);
      replay.events += 1;
      if (event.type !== null) each?.(event, model);
    } catch (error) {
      if (!(error instanceof Violation)) throw error;
      replay.revision = message.revision;
      report(name, message.revision, error, hash);
    }
  }

  function report(
    name: string,
    revision: number,
    { check, message: what, expected, actual }: Violation,
    hash: string | null,
  ) {
    const finding = { revision, model: name, check, what, expected, actual, unchecked: 0 };
    replay.findings.push(finding);
    broken.set(name, { finding, suspect: check === 'chain' ? hash : null });
  }

  /** Counts an unchecked event. The first one shows whether the event at the break or one before it was altered. */
  function skip(failed: BrokenModel, { body }: RawMessage): void {
    failed.finding.unchecked += 1;
    if (failed.suspect === null) return;
    failed.finding.what +=
      prevhashOf(body) === failed.suspect
        ? ' The next event fits this one, so an event before this one was altered or removed.'
        : ' The next event does not fit this one either, so this event was altered or inserted.';
    failed.suspect = null;
  }

  function reportGap(last: number): void {
    if (last < next || ++gaps > MAX_GAPS + 1) return;
    const these = last === next ? `Revision ${next} is missing.` : `Revisions ${next} to ${last} are missing.`;
    const what = gaps > MAX_GAPS ? `More revisions are missing from revision ${next} on.` : these;
    const nothing = { expected: null, actual: null, unchecked: 0 };
    replay.findings.push({ revision: next, model: null, check: 'revisions', what, ...nothing });
  }

  function end(last: number): void {
    reportGap(last);
    before?.(last + 1, replay);
    replay.findings.sort((a, b) => a.revision - b.revision);
  }
}

function chainBroken(model: ModelState, prevhash: string): Violation {
  const previous =
    model.revision === 0 ? '64 zeros, as in a model’s first event' : `the hash of revision ${model.revision}`;
  return new Violation('chain', `Its prevhash is not ${previous}.`, model.hash, prevhash);
}
