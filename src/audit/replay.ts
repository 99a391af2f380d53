import { modelOf } from '../log/stream.ts';
import { prevhashOf } from '../proof/chain.ts';
import type { LogSource, RawMessage } from '../proof/source.ts';
import { type Finding, Misfit } from './finding.ts';
import type { Moment } from './moment.ts';
import { type AuditEvent, readEvent } from './rules/event.ts';
import { follow } from './rules/rules.ts';
import { type ModelState, newModel } from './rules/state.ts';

export interface ReplayOptions {
  /** How far; without it, to the log's end. */
  moment?: Moment;
  /** Only these models. */
  models?: ReadonlySet<string> | undefined;
  /** Told of every event that fits, when it has happened. */
  each?(event: AuditEvent, model: ModelState): void;
  /** Told of every revision before it is read, and of the one after the last. */
  before?(revision: number, replay: Replay): void;
  progress?(read: number, total: number): void;
}

/** A log as it was found when it was read again from its first event. */
export interface Replay {
  models: Map<string, ModelState>;
  /** The first misfit of each model and the first gaps in the revisions, in the order of the log. */
  findings: Finding[];
  /** The last revision that was asked for and belongs to the moment, and how many events fit up to there. */
  revision: number;
  events: number;
  /** When the last message that was read was stored, in milliseconds; 0 for none. */
  stored_at: number;
  /** Every model that the log has, also after the moment. */
  names: Set<string>;
}

/** A model that is not followed any more. */
interface Broken {
  finding: Finding;
  /** Where the chain broke: the hash of the event there, until the next one has told which of the two was altered. */
  doubtful: string | null;
}

const MAX_GAPS = 100;

/** Reads a log from its first event to a moment, and holds every event against the ones before it. */
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
  const broken = new Map<string, Broken>();
  /** Models whose events come after the moment from here on. */
  const over = new Set<string>();
  const until = moment && 'at' in moment ? moment.at : Number.POSITIVE_INFINITY;
  let next = 1;
  let gaps = 0;

  return { read, end, replay };

  function read(message: RawMessage): void {
    missing(message.revision - 1);
    before?.(message.revision, replay);
    next = message.revision + 1;
    replay.stored_at = message.stored_at.getTime();
    const name = modelOf(message.subject);
    if (wanted && !wanted.has(name)) return;
    replay.names.add(name);
    if (over.has(name)) return;
    const failed = broken.get(name);
    if (failed) lookOn(failed, message);
    else readOf(name, message);
  }

  function readOf(name: string, message: RawMessage): void {
    const model = replay.models.get(name) ?? newModel(name);
    let hash: string | null = null;
    try {
      const event = readEvent(message);
      hash = event.hash;
      // Times of one model never go back, so what comes later is later; those of two models may.
      if (event.at > until) return void over.add(name);
      replay.revision = message.revision;
      if (event.prevhash !== model.hash) throw chainBroken(model, event.prevhash);
      if (event.type === null) Object.assign(model, { revision: event.revision, hash: event.hash });
      else follow(model, event);
      replay.models.set(name, model);
      replay.events += 1;
      if (event.type !== null) each?.(event, model);
    } catch (error) {
      if (!(error instanceof Misfit)) throw error;
      replay.revision = message.revision;
      found(name, message.revision, error, hash);
    }
  }

  function found(
    name: string,
    revision: number,
    { check, message: what, expected, actual }: Misfit,
    hash: string | null,
  ) {
    const finding = { revision, model: name, check, what, expected, actual, unchecked: 0 };
    replay.findings.push(finding);
    broken.set(name, { finding, doubtful: check === 'chain' ? hash : null });
  }

  /** The event after the one where the chain broke tells whether that one, or the one before it, is as it was. */
  function lookOn(failed: Broken, { body }: RawMessage): void {
    failed.finding.unchecked += 1;
    if (failed.doubtful === null) return;
    const intact = prevhashOf(body) === failed.doubtful;
    failed.finding.what += intact
      ? ' The next event fits this one, so it is what comes before that was altered or taken out.'
      : ' The next event does not fit this one either, so it is this one that was altered or put in.';
    failed.doubtful = null;
  }

  function missing(last: number): void {
    if (last < next || ++gaps > MAX_GAPS + 1) return;
    const these = last === next ? `Revision ${next} is missing.` : `Revisions ${next} to ${last} are missing.`;
    const what = gaps > MAX_GAPS ? `From revision ${next} on more are missing.` : these;
    const nothing = { expected: null, actual: null, unchecked: 0 };
    replay.findings.push({ revision: next, model: null, check: 'revisions', what, ...nothing });
  }

  function end(last: number): void {
    missing(last);
    before?.(last + 1, replay);
    replay.findings.sort((a, b) => a.revision - b.revision);
  }
}

function chainBroken(model: ModelState, prevhash: string): Misfit {
  const before = model.revision === 0 ? 'nothing' : `revision ${model.revision}`;
  const what = `It does not follow ${before}, which is the event before it: its prevhash is the hash of something else.`;
  return new Misfit('chain', what, model.hash, prevhash);
}
