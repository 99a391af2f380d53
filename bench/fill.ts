import { activate } from '../src/commands/activate.ts';
import { archive } from '../src/commands/archive.ts';
import type { Command, Context } from '../src/commands/command.ts';
import { publish } from '../src/commands/publish.ts';
import type { EventDraft, RegistryEvent } from '../src/domain/events.ts';
import type { Artifact } from '../src/domain/manifest.ts';
import type { Model } from '../src/domain/model.ts';
import { encodeEvent } from '../src/log/codec.ts';
import type { Nats } from '../src/log/connection.ts';
import { hashOf } from '../src/log/read.ts';
import { subjectOf } from '../src/log/stream.ts';
import { ModelInMemory } from '../test/support/model-in-memory.ts';

/** The time of revision 0; the events are a second apart. */
export const START = Date.parse('2026-01-01T00:00:00Z');
/** nats-server refuses messages for a stream if 10,000 of them wait. */
const ACKED_EVERY = 500;
const UNACKED_AT_MOST = 8 * ACKED_EVERY;

/** A log to write: the models, which take turns, and the next event of each. */
export interface Plan {
  models: number;
  next(model: Model, turn: number): EventDraft;
}

const context: Context = {
  now: '2026-01-01T00:00:00.000Z',
  environments: ['production', 'staging'],
  activationLimit: 0,
  missing: [],
  verified: [],
  loaders: [],
};

const ONE_ARTIFACT: Artifact[] = [{ path: 'model.joblib', digest: `sha256:${'a'.repeat(64)}`, size: 1 }];

/** Two versions for each model, then activations of them in turn. */
export function activations(models: number, artifacts = ONE_ARTIFACT): Plan {
  const moves = ['1.0.0', '1.1.0'].map((version) =>
    decider(activate, { version, reason: 'a reason of usual length' }),
  ) as [Decider, Decider];
  return {
    models,
    next(model, turn) {
      if (turn >= 2) return moves[turn % 2]!(model);
      const version = turn === 0 ? '1.0.0' : '1.1.0';
      return decider(publish, { version, artifacts, requires: {}, metrics: { turn } })(model);
    },
  };
}

/** The events of a round of `versions`: ten versions, the last one activated, the first one archived. */
const ROUND = 12;
const PUBLISHED = 10;

/** Returns how many events `versions` needs for this many versions, a multiple of ten for each model. */
export function eventsFor(versions: number): number {
  return (versions / PUBLISHED) * ROUND;
}

/** Versions with metrics, params and tags that differ; a tenth is archived, a tenth was activated. */
export function versions(models: number, blobs: readonly Omit<Artifact, 'path'>[]): Plan {
  return {
    models,
    next(model, turn) {
      const round = Math.floor(turn / ROUND);
      const step = turn % ROUND;
      const version = (n: number) => `1.${round * PUBLISHED + n}.0`;
      const environment = round % 3 === 0 ? 'staging' : 'production';
      if (step === PUBLISHED) {
        return decider(activate, { version: version(9), environment, reason: 'better on the new traffic' })(model);
      }
      if (step > PUBLISHED) return decider(archive, { version: version(0), reason: 'superseded' })(model);
      return decider(publish, { version: version(step), ...content(round * PUBLISHED + step, blobs) })(model);
    },
  };
}

/** The content of a version: its values repeat with periods that have no common factor, so that filters select parts. */
function content(n: number, blobs: readonly Omit<Artifact, 'path'>[]) {
  const artifacts = [{ path: 'model.joblib', ...blobs[n % blobs.length]! }];
  if (n % 2 === 0) artifacts.push({ path: 'encoder/vocabulary.json', ...blobs[(n + 1) % blobs.length]! });
  return {
    flavor: n % 3 === 0 ? 'sklearn' : 'onnx',
    artifacts,
    requires: { python: '~=3.11.0', packages: { 'scikit-learn': '~=1.5.1' } },
    metrics: { auc: ((n * 7919) % 10_007) / 10_007, f1: ((n * 104_729) % 9_973) / 9_973, loss: 1 / (1 + (n % 997)) },
    params: { max_depth: n % 13, learning_rate: 0.1 / (1 + (n % 7)), solver: n % 2 === 0 ? 'lbfgs' : 'saga', seed: n },
    tags: { team: ['risk', 'search', 'ads', 'fraud', 'growth'][n % 5]!, stage: `s${n % 11}`, run: `run-${n}` },
  };
}

type Decider = (model: Model) => EventDraft;

/** Checks the input once, for decisions on many models. */
function decider<I>(command: Command<I>, input: unknown): Decider {
  const checked = command.input.parse(input);
  return (model) => {
    const decision = command.decide(model, checked, context);
    if ('unchanged' in decision) throw new Error('nothing was decided');
    return decision.draft;
  };
}

/**
 * Writes a plan's events into an empty log, by the rules. Each call continues up to this many events. Only some publishes
 * ask for an acknowledgement, which shows that all before it were stored in order: one for each event takes several times
 * as long.
 */
export function filler(nats: Nats, plan: Plan): (count: number) => Promise<void> {
  const models = Array.from({ length: plan.models }, (_, i) => new ModelInMemory(`model-${i}`));
  let revision = 0;

  return async (count) => {
    const unacked: Promise<void>[] = [];
    while (revision < count) {
      revision += 1;
      const { subject, body } = encoded(revision);
      if (revision % ACKED_EVERY > 0 && revision < count) {
        nats.nc.publish(subject, body);
        continue;
      }
      unacked.push(stored(subject, body, revision));
      if (unacked.length * ACKED_EVERY >= UNACKED_AT_MOST) await unacked.shift();
    }
    await Promise.all(unacked);
  };

  function encoded(revision: number): { subject: string; body: Buffer } {
    const model = models[(revision - 1) % models.length]!;
    const draft = plan.next(model, Math.floor((revision - 1) / models.length));
    const event = {
      ...draft,
      model: model.name,
      id: crypto.randomUUID(),
      time: new Date(START + revision * 1000).toISOString(),
      actor: 'bench',
      request_id: 'bench',
    } as RegistryEvent;
    const body = encodeEvent(event, model.head);
    model.follow(event, revision, hashOf(body));
    return { subject: subjectOf(model.name), body };
  }

  async function stored(subject: string, body: Buffer, revision: number): Promise<void> {
    const ack = await nats.js.publish(subject, body, { timeout: 30_000 });
    if (ack.seq !== revision) throw new Error(`revision ${revision} was stored as ${ack.seq}`);
  }
}
