import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { NO_HEAD } from '../../../src/domain/model.ts';
import { encodeEvent } from '../../../src/log/codec.ts';
import { hashOf, type LogMessage } from '../../../src/log/read.ts';
import { ReadModel } from '../../../src/projections/read-model/read-model.ts';
import { temporaryFolder } from '../../support/folder.ts';
import { newReadModel } from '../../support/read-model.ts';

describe('folding the log', () => {
  test('follows each model by its own chain', () => {
    const log = newLog();
    log.event('fraud', published('1.0.0'));
    log.event('churn', published('2.0.0'));
    log.event('fraud', notes('1.0.0', 'good'));
    const { readModel } = log;
    expect(readModel.model('fraud').version('1.0.0')).toMatchObject({ notes: 'good', revision: 1 });
    expect(readModel.model('churn')).toMatchObject({ revision: 2, head: hashOf(log.bodies[1]!) });
    expect(eventsOf(readModel, 'fraud')).toEqual([
      [1, 'version.published'],
      [3, 'notes.changed'],
    ]);
  });

  test('has the position of the last message, with its hash, and the hash of the first message as epoch', () => {
    const log = newLog(4);
    expect(log.readModel.position).toEqual({ generation: 4, epoch: null, revision: 0, hash: null });
    log.event('fraud', published('1.0.0'));
    log.raw('churn', 'hello');
    const epoch = hashOf(log.bodies[0]!);
    expect(log.readModel.position).toEqual({ generation: 4, epoch, revision: 2, hash: hashOf(log.bodies[1]!) });
  });

  test('names of tags that differ only in text that is not well-formed are one name', () => {
    const log = newLog();
    const event = published('1.0.0');
    const tags = { '\ud800': 'a', '\udfff': 'b' };
    expect(
      log.event('fraud', { ...event, data: { ...event.data, manifest: { ...event.data.manifest, tags } } }),
    ).not.toBe(null);
    expect(log.readModel.model('fraud').version('1.0.0')!.manifest.tags).toEqual(tags);
  });

  test('a log without its first message has no epoch', () => {
    const readModel = newReadModel();
    readModel.fold({ revision: 7, model: 'fraud', body: Buffer.from('x') });
    expect(readModel.position).toMatchObject({ epoch: null, revision: 7 });
  });
});

test('gaps of the log are kept with the position before them', async () => {
  const path = join(await temporaryFolder(), 'read-model.db');
  const log = { warn() {}, error() {} };
  const first = new ReadModel({ path, log });
  const body = Buffer.from('x');
  first.fold({ revision: 1, model: 'fraud', body });
  first.noteGap({ first: 2, last: 3 });
  first.fold({ revision: 4, model: 'fraud', body });
  first.commit();
  first.noteGap({ first: 5, last: 5 }); // lost with the process, before the message after it
  first.close();
  const second = new ReadModel({ path, log });
  expect([second.position.revision, second.gaps]).toEqual([4, [{ first: 2, last: 3 }]]);
  second.reset(1);
  expect(second.gaps).toEqual([]);
  second.close();
});

describe('a message that cannot be applied', () => {
  test('freezes its own model only', () => {
    const log = newLog();
    log.event('fraud', published('1.0.0'));
    const before = stateOf(log.readModel, 'fraud');
    expect(log.raw('fraud', 'hello')).toBeNull();
    expect(log.event('churn', published('2.0.0'))).not.toBeNull();
    expect(stateOf(log.readModel, 'fraud')).toEqual(before);
    expect(log.readModel.frozen('fraud')).toMatchObject({ revision: 2 });
    expect(log.readModel.frozen('churn')).toBeNull();
    expect(log.readModel.position.revision).toBe(3);
  });

  test('later events of a frozen model are not applied, and the first reason stays', () => {
    const log = newLog();
    log.event('fraud', published('1.0.0'));
    log.raw('fraud', 'hello');
    const { reason } = log.readModel.frozen('fraud')!;
    expect(log.event('fraud', notes('1.0.0', 'late'), hashOf(log.bodies[0]!))).toBeNull();
    expect(log.event('fraud', notes('1.0.0', 'late'), hashOf(log.bodies[1]!))).toBeNull();
    expect(log.readModel.model('fraud').version('1.0.0')!.notes).toBe('');
    expect(eventsOf(log.readModel, 'fraud')).toHaveLength(1);
    expect(log.readModel.frozen('fraud')).toEqual({ revision: 2, reason });
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
    [
      'an ignorable event that changes what is active',
      (log) => log.raw('fraud', ignorable(hashOf(log.bodies[0]!), wrongMap.data)),
    ],
    ['an ignorable event without an active map', (log) => log.raw('fraud', ignorable(hashOf(log.bodies[0]!), {}))],
  ])('%s freezes it', (_, write) => {
    const log = newLog();
    log.event('fraud', published('1.0.0'));
    const good = stateOf(log.readModel, 'fraud');
    expect(write(log)).toBeNull();
    const frozen = [...log.readModel.frozenModels.values()];
    expect(frozen.map(({ revision }) => revision)).toEqual([2]);
    expect(stateOf(log.readModel, 'fraud')).toEqual(good);
  });
});

test('an ignorable event is a link of the chain, and changes nothing', () => {
  const log = newLog();
  log.event('fraud', published('1.0.0'));
  expect(log.raw('fraud', ignorable(hashOf(log.bodies[0]!)))).toBeNull();
  expect([log.readModel.frozen('fraud'), log.readModel.model('fraud').revision]).toEqual([null, 2]);
  expect(log.event('fraud', notes('1.0.0', 'after'))).not.toBeNull();
  expect(log.readModel.model('fraud').version('1.0.0')!.notes).toBe('after');
});

/** Everything that the read model has of a model. */
function stateOf(readModel: ReadModel, name: string): object {
  const model = readModel.model(name);
  const { revision, head, time, versionCount, latest, highest, environments } = model;
  return structuredClone({
    revision,
    head,
    time,
    versionCount,
    latest,
    highest,
    environments,
    first: model.version('1.0.0'),
  });
}

function eventsOf(readModel: ReadModel, name: string): [number, string][] {
  const sql = 'SELECT revision, type FROM event WHERE model = (SELECT id FROM model WHERE name = ?) ORDER BY revision';
  const rows = readModel.db.query<{ revision: number; type: string }>(sql).all(name);
  return rows.map(({ revision, type }) => [revision, type]);
}

interface TestLog {
  readModel: ReadModel;
  bodies: Uint8Array[];
  /** Folds the model's next event; `prevhash` follows from the chain by default. */
  event(subject: string, event: Partial<Parameters<typeof encodeEvent>[0]>, prevhash?: string): unknown;
  raw(subject: string, body: string | Uint8Array): unknown;
}

function newLog(generation = 0): TestLog {
  const readModel = newReadModel(generation);
  const bodies: Uint8Array[] = [];
  const raw = (model: string, content: string | Uint8Array) => {
    const body = Buffer.from(content);
    const message: LogMessage = { revision: bodies.push(body), model, body };
    return readModel.fold(message);
  };
  return {
    readModel,
    bodies,
    raw,
    event(subject, event, prevhash = readModel.model(subject).head) {
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
function ignorable(prevhash: string, data?: object): Buffer {
  const event = { id: 'x', model: 'fraud', time: '2026-03-03T14:05:00Z', actor: 'ana', request_id: 'r' };
  const plain = JSON.parse(encodeEvent({ ...event, ...notes('1.0.0', '') }, prevhash).toString());
  const praised = { ...plain, type: 'signalbox.version.praised.v1', ignorable: true, data: data ?? plain.data };
  return Buffer.from(JSON.stringify(praised));
}
