import fc from 'fast-check';
import { expect, test } from 'vitest';
import { activate } from '../../src/commands/activate.ts';
import type { Decision } from '../../src/commands/command.ts';
import { rollback } from '../../src/commands/rollback.ts';
import { sha256Hex } from '../../src/domain/digest.ts';
import { Problem } from '../../src/domain/errors.ts';
import type { ActiveMap, RegistryEvent } from '../../src/domain/events.ts';
import { RuleBroken } from '../../src/domain/evolve.ts';
import { entryBelow, environmentOf } from '../../src/domain/model.ts';
import { ModelInMemory } from '../support/model-in-memory.ts';
import { type Asked, commandOf, contextOf, type Expected, history, NaiveModel } from './history.ts';
import { at, decide, eventOf } from './support.ts';

interface Stored {
  event: RegistryEvent;
  revision: number;
}

const RUNS = { numRuns: 200 };

test('decisions agree with a naive model for random histories', () => {
  fc.assert(
    fc.property(history, (commands) => {
      const naive = new NaiveModel();
      run(commands, ({ asked, now, revision, answer, event, model }) => {
        expect(told(answer)).toEqual(naive.ask(asked, now, revision));
        if (event) expect(pointers(event.data.active)).toEqual(naiveMap(naive, asked, event, model));
      });
    }),
    RUNS,
  );
});

test('a refusal changes nothing', () => {
  fc.assert(
    fc.property(history, (commands) => {
      let before = structuredClone(new ModelInMemory('fraud'));
      run(commands, ({ event, model }) => {
        if (!event) expect(model).toEqual(before);
        before = structuredClone(model);
      });
    }),
    RUNS,
  );
});

test('only the status and the notes of a published version ever change', () => {
  fc.assert(
    fc.property(history, (commands) => {
      const first = new Map<string, object>();
      run(commands, ({ model }) => {
        for (const { status, notes, ...published } of model.versions.values()) {
          if (!first.has(published.version)) first.set(published.version, structuredClone(published));
          expect(published).toEqual(first.get(published.version));
        }
      });
    }),
    RUNS,
  );
});

test('the active map of every event equals the fold after it, with at most one version per environment', () => {
  fc.assert(
    fc.property(history, (commands) => {
      run(commands, ({ event, revision, model }) => {
        if (!event) return;
        for (const [name, pointer] of Object.entries(event.data.active)) {
          const { top, moved } = environmentOf(model, name);
          expect(pointer?.version ?? null).toBe(top?.version ?? null);
          if (!pointer) continue;
          const { manifest_digest, revision: published_revision } = model.versions.get(pointer.version)!;
          expect(pointer).toMatchObject({ manifest_digest, published_revision });
          expect(pointer.revision ?? revision).toBe(moved!.revision);
        }
        for (const name of model.environments.keys()) expect(event.data.active).toHaveProperty([name]);
      });
    }),
    RUNS,
  );
});

test('a rollback undoes exactly what the last activation did', () => {
  fc.assert(
    fc.property(history, fc.constantFrom('production', 'constructor'), (commands, environment) => {
      const { model, now, last } = run(commands);
      const before = environmentOf(model, environment).top;
      const other = [...model.versions.values()].find((v) => v.status === 'ready' && v.version !== before?.version);
      fc.pre(before !== null && other !== undefined);
      const context = { now: at(now), environments: ['production', 'constructor'] };
      const force = { force: true };
      const stack = () => environmentOf(model, environment).top;
      // Declared runtimes do not matter here.
      model.environments.set(environment, { ...environmentOf(model, environment), runtime: null });
      const archived = before.version !== null && model.versions.get(before.version)!.status === 'archived';
      expect(archived, 'what is active is not archived').toBe(false);
      const pushed = accept(model, decide(model, activate, { version: other.version, environment, ...force }, context));
      model.follow(pushed(context.now), last + 1, 'a');
      expect(stack()?.below).toBe(before.revision);
      const popped = accept(model, decide(model, rollback, { environment, reason: 'worse' }, context));
      model.follow(popped(context.now), last + 2, 'b');
      expect(stack()).toEqual(before);
    }),
    RUNS,
  );
});

test('the same events give the same state', () => {
  fc.assert(
    fc.property(history, (commands) => {
      const { model, events } = run(commands);
      expect(fold(events)).toEqual(model);
      expect(fold(structuredClone(events))).toEqual(model);
    }),
    RUNS,
  );
});

test('no event can be repeated or reordered', () => {
  fc.assert(
    fc.property(history, fc.nat(), fc.nat(), (commands, from, to) => {
      const { events } = run(commands);
      fc.pre(events.length > 1);
      const [moving] = events.splice(from % events.length, 1);
      const place = to % (events.length + 1);
      fc.pre(place !== from % (events.length + 1));
      expect(() => fold(events.toSpliced(place, 0, moving!))).toThrow(RuleBroken);
      const again = events.toSpliced(from % (events.length + 1), 0, moving!, moving!);
      expect(() => fold(again)).toThrow(RuleBroken);
    }),
    RUNS,
  );
});

test('an event that moved an environment cannot be left out', () => {
  fc.assert(
    fc.property(history, fc.nat(), (commands, which) => {
      const { events } = run(commands);
      const moves = events
        .slice(0, -1)
        .filter(({ event: { data } }) => 'previous' in data && data.previous !== data.version);
      fc.pre(moves.length > 0);
      const left = moves[which % moves.length]!;
      expect(() => fold(events.filter((stored) => stored !== left))).toThrow(RuleBroken);
    }),
    RUNS,
  );
});

test('an event with a wrong active map, previous version or list of reverted revisions is refused and changes nothing', () => {
  fc.assert(
    fc.property(history, (commands) => {
      const { events } = run(commands);
      const model = new ModelInMemory('fraud');
      for (const { event, revision } of events) {
        const before = structuredClone(model);
        for (const data of alterations(model, event)) {
          const altered = { ...event, data } as RegistryEvent;
          expect(() => model.follow(altered, revision, 'x'), JSON.stringify(data)).toThrow(RuleBroken);
        }
        expect(model).toEqual(before);
        model.follow(event, revision, hashOf(event));
      }
    }),
    { numRuns: 100 },
  );
});

interface Seen {
  asked: Asked;
  now: number;
  revision: number;
  answer: Decision | Problem;
  event: RegistryEvent | null;
  model: ModelInMemory;
}

/** Runs the commands in order and folds the accepted events. */
function run(commands: Asked[], see: (seen: Seen) => void = () => {}) {
  const model = new ModelInMemory('fraud');
  const events: Stored[] = [];
  let now = 0;
  let last = 0;
  for (const asked of commands) {
    now += asked.wait;
    const revision = last + 1 + asked.gap;
    const answer = answerTo(model, asked, now);
    const event = 'draft' in answer ? accept(model, answer)(at(now)) : null;
    if (event) {
      model.follow(event, revision, hashOf(event));
      events.push({ event, revision });
      last = revision;
    }
    see({ asked, now, revision, answer, event, model });
  }
  return { model, events, now, last };
}

function answerTo(model: ModelInMemory, asked: Asked, now: number): Decision | Problem {
  try {
    const [command, input] = commandOf(asked);
    return decide<never>(model, command as never, input, contextOf(asked, now));
  } catch (error) {
    if (error instanceof Problem) return error;
    throw error;
  }
}

function accept(model: ModelInMemory, answer: Decision) {
  if (!('draft' in answer)) throw new Error('It changed nothing.');
  return (time: string) => eventOf(model, answer.draft, time);
}

const hashOf = (event: RegistryEvent) => sha256Hex(JSON.stringify(event));

function fold(events: Stored[]): ModelInMemory {
  const model = new ModelInMemory('fraud');
  for (const { event, revision } of events) model.follow(event, revision, hashOf(event));
  return model;
}

/** An answer in the terms of the naive model. */
function told(answer: Decision | Problem): Expected {
  if (answer instanceof Problem) return { refused: answer.code };
  if ('unchanged' in answer) return answer;
  const { type, data } = answer.draft;
  const said: Record<string, unknown> = { type };
  for (const name of ['version', 'previous', 'reverts']) if (name in data) said[name] = (data as typeof said)[name];
  return said as Expected;
}

const pointers = (active: ActiveMap) =>
  Object.fromEntries(Object.entries(active).map(([name, at]) => [name, at && [at.version, at.revision]]));

function naiveMap(naive: NaiveModel, asked: Asked, event: RegistryEvent, model: ModelInMemory) {
  const moves = 'previous' in event.data;
  const names = new Set([...contextOf(asked, 0).environments, ...model.environments.keys()]);
  const map: Record<string, unknown> = {};
  for (const name of names) {
    const version = naive.active(name);
    const revision = moves && name === asked.environment ? undefined : (naive.places[name]?.moved ?? undefined);
    map[name] = version && [version, revision];
  }
  return map;
}

/** The data of an event with one false statement. */
function* alterations(model: ModelInMemory, { data }: RegistryEvent): Generator<object> {
  const { active } = data;
  const moves = 'previous' in data ? (data.environment as string) : null;
  const wrong = { version: '9.9.9', manifest_digest: `sha256:${'f'.repeat(64)}`, published_revision: 0, revision: 0 };
  for (const [name, pointer] of Object.entries(active)) {
    const { [name]: _, ...others } = active;
    if (name === moves || model.environments.has(name)) yield { ...data, active: others };
    yield { ...data, active: { ...active, [name]: pointer ? null : wrong } };
    if (!pointer) continue;
    for (const [field, value] of Object.entries(wrong)) {
      yield { ...data, active: { ...active, [name]: { ...pointer, [field]: value } } };
    }
    const { revision, ...unmoved } = pointer;
    if (revision !== undefined) yield { ...data, active: { ...active, [name]: unmoved } };
  }
  yield { ...data, active: { ...active, elsewhere: wrong } };
  yield { ...data, active: Object.fromEntries([...Object.entries(active), ['__proto__', wrong]]) };
  if (!('previous' in data)) return;
  for (const version of [null, '9.9.9', ...model.versions.keys()]) {
    if (version !== data.previous) yield { ...data, previous: version };
    if (version !== data.version) yield { ...data, version };
  }
  if (!('reverts' in data)) return;
  const reverts = data.reverts as number[];
  yield { ...data, reverts: [] };
  yield { ...data, reverts: reverts.slice(1) };
  yield { ...data, reverts: reverts.slice(0, -1) };
  yield { ...data, reverts: reverts.map((revision) => revision + 1) };
  const below = stackOf(model, data.environment as string).filter((revision) => !reverts.includes(revision));
  for (let more = 1; more <= below.length; more++) yield { ...data, reverts: [...reverts, ...below.slice(0, more)] };
}

function stackOf(model: ModelInMemory, environment: string): number[] {
  const revisions: number[] = [];
  let entry = environmentOf(model, environment).top;
  for (; entry; entry = entryBelow(model, entry)) revisions.push(entry.revision);
  return revisions;
}
