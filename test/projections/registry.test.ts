import { describe, expect, test } from 'vitest';
import { NO_HEAD } from '../../src/domain/model.ts';
import { encodeEvent } from '../../src/log/codec.ts';
import { hashOf, type LogMessage } from '../../src/log/read.ts';
import { applyMessage, emptyRegistry, entryOf, type Registry } from '../../src/projections/registry.ts';

describe('folding the log', () => {
  test('follows each model by its own chain', () => {
    const log = newLog();
    log.event('fraud', published('1.0.0'));
    log.event('churn', published('2.0.0'));
    log.event('fraud', notes('1.0.0', 'good'));
    const { registry } = log;
    expect(entryOf(registry, 'fraud').model.versions.get('1.0.0')).toMatchObject({ notes: 'good', revision: 1 });
    expect(entryOf(registry, 'churn').model).toMatchObject({ revision: 2, head: hashOf(log.bodies[1]!) });
    expect(entryOf(registry, 'fraud').history.map(({ revision, type }) => [revision, type])).toEqual([
      [1, 'version.published'],
      [3, 'notes.changed'],
    ]);
  });

  test('has the position of the last message, with its hash, and the hash of the first message as epoch', () => {
    const log = newLog(4);
    expect(log.registry.position).toEqual({ generation: 4, epoch: null, revision: 0, hash: null });
    log.event('fraud', published('1.0.0'));
    log.raw('churn', 'hello');
    const epoch = hashOf(log.bodies[0]!);
    expect(log.registry.position).toEqual({ generation: 4, epoch, revision: 2, hash: hashOf(log.bodies[1]!) });
  });

  test('a log without its first message has no epoch', () => {
    const registry = emptyRegistry();
    applyMessage(registry, { revision: 7, model: 'fraud', body: Buffer.from('x') });
    expect(registry.position).toMatchObject({ epoch: null, revision: 7 });
  });
});

describe('a message that cannot be applied', () => {
  test('freezes its own model only', () => {
    const log = newLog();
    log.event('fraud', published('1.0.0'));
    const before = structuredClone(entryOf(log.registry, 'fraud').model);
    expect(log.raw('fraud', 'hello')).toBeNull();
    expect(log.event('churn', published('2.0.0'))).not.toBeNull();
    expect(entryOf(log.registry, 'fraud')).toMatchObject({ model: before, frozen: { revision: 2 } });
    expect(entryOf(log.registry, 'churn')).toMatchObject({ frozen: null });
    expect(log.registry.position.revision).toBe(3);
  });

  test('later events of a frozen model are not applied, and the first reason stays', () => {
    const log = newLog();
    log.event('fraud', published('1.0.0'));
    log.raw('fraud', 'hello');
    const { reason } = entryOf(log.registry, 'fraud').frozen!;
    expect(log.event('fraud', notes('1.0.0', 'late'), hashOf(log.bodies[0]!))).toBeNull();
    expect(log.event('fraud', notes('1.0.0', 'late'), hashOf(log.bodies[1]!))).toBeNull();
    const { model, history, frozen } = entryOf(log.registry, 'fraud');
    expect(model.versions.get('1.0.0')!.notes).toBe('');
    expect(history).toHaveLength(1);
    expect(frozen).toEqual({ revision: 2, reason });
  });

  test.each<[string, (log: TestLog) => unknown]>([
    ['a first event with a prevhash', (log) => log.event('new', published('1.0.0'), 'ab'.repeat(32))],
    ['a later event without a prevhash', (log) => log.event('fraud', notes('1.0.0', 'x'), NO_HEAD)],
    ['an event with an invalid prevhash', (log) => log.event('fraud', notes('1.0.0', 'x'), 'AB')],
    ['the same event again', (log) => log.raw('fraud', log.bodies[0]!)],
    ['an event about another model', (log) => log.event('fraud', { ...notes('1.0.0', 'x'), model: 'churn' })],
    [
      'an event that is older than the previous one',
      (log) => log.event('fraud', { ...notes('1.0.0', 'x'), time: '2020-01-01T00:00:00Z' }),
    ],
    ['an event that breaks a rule', (log) => log.event('fraud', notes('9.9.9', 'x'))],
    ['an event with a wrong active map', (log) => log.event('fraud', wrongMap)],
    ['a subject that is not a valid model name', (log) => log.event('Not A Name', published('1.0.0'))],
    ['an ignorable event that breaks the chain', (log) => log.raw('fraud', ignorable(NO_HEAD))],
  ])('%s freezes it', (_, write) => {
    const log = newLog();
    log.event('fraud', published('1.0.0'));
    const good = structuredClone(entryOf(log.registry, 'fraud').model);
    expect(write(log)).toBeNull();
    const frozen = [...log.registry.models].filter(([, entry]) => entry.frozen);
    expect(frozen).toHaveLength(1);
    expect(frozen[0]![1].frozen!.revision).toBe(2);
    expect(entryOf(log.registry, 'fraud').model).toEqual(good);
  });
});

test('an ignorable event is a link of the chain, and changes nothing', () => {
  const log = newLog();
  log.event('fraud', published('1.0.0'));
  expect(log.raw('fraud', ignorable(hashOf(log.bodies[0]!)))).toBeNull();
  expect(entryOf(log.registry, 'fraud')).toMatchObject({ frozen: null, model: { revision: 2 } });
  expect(log.event('fraud', notes('1.0.0', 'after'))).not.toBeNull();
  expect(entryOf(log.registry, 'fraud').model.versions.get('1.0.0')!.notes).toBe('after');
});

interface TestLog {
  registry: Registry;
  bodies: Uint8Array[];
  /** Folds the model's next event; `prevhash` follows from the chain by default. */
  event(subject: string, event: Partial<Parameters<typeof encodeEvent>[0]>, prevhash?: string): unknown;
  raw(subject: string, body: string | Uint8Array): unknown;
}

function newLog(generation = 0): TestLog {
  const registry = emptyRegistry(generation);
  const bodies: Uint8Array[] = [];
  const raw = (model: string, content: string | Uint8Array) => {
    const body = Buffer.from(content);
    const message: LogMessage = { revision: bodies.push(body), model, body };
    return applyMessage(registry, message);
  };
  return {
    registry,
    bodies,
    raw,
    event(subject, event, prevhash = entryOf(registry, subject).model.head) {
      const id = `e-${bodies.length + 1}`;
      const full = { id, model: subject, time: '2026-03-03T14:05:00Z', actor: 'ana', request_id: 'r', ...event };
      return raw(subject, encodeEvent(full as Parameters<typeof encodeEvent>[0], prevhash));
    },
  };
}

const digest = `sha256:${'0'.repeat(64)}` as const;

function published(version: string) {
  const artifacts = [{ path: 'model.joblib', digest, size: 1 }];
  const rest = { requires: {}, metrics: {}, params: {}, tags: {}, lineage: {}, signature: null };
  const manifest = { flavor: 'custom', artifacts, ...rest };
  const data = { version, manifest, manifest_digest: digest, notes: '', active: { production: null } };
  return { type: 'version.published' as const, data };
}

function notes(version: string, text: string) {
  return { type: 'notes.changed' as const, data: { version, notes: text, active: { production: null } } };
}

const wrongMap = {
  type: 'notes.changed' as const,
  data: {
    version: '1.0.0',
    notes: '',
    active: { production: { version: '1.0.0', manifest_digest: digest, published_revision: 1 } },
  },
};

/** An event of a newer version of Signalbox, which this one may ignore. */
function ignorable(prevhash: string): Buffer {
  const event = { id: 'x', model: 'fraud', time: '2026-03-03T14:05:00Z', actor: 'ana', request_id: 'r' };
  const plain = JSON.parse(encodeEvent({ ...event, ...notes('1.0.0', '') }, prevhash).toString());
  return Buffer.from(JSON.stringify({ ...plain, type: 'signalbox.version.praised.v1', ignorable: true }));
}
