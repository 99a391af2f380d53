import fc from 'fast-check';
import { pino } from 'pino';
import { describe, expect, onTestFinished, test } from 'vitest';
import type { EventType } from '../../src/domain/events.ts';
import { type LogPosition, shortEpoch } from '../../src/log/identity.ts';
import {
  type CursorOptions,
  type CursorPosition,
  newestOf,
  parsePosition,
  resumed,
  startCursor,
} from '../../src/projections/cursor.ts';
import type { EventListener } from '../../src/projections/projector.ts';
import type { ReadModel } from '../../src/projections/read-model/read-model.ts';
import { newReadModel } from '../support/read-model.ts';

const EPOCH = 'ab'.repeat(32);

/** A projector without a log: its read model has only a position and an index of events. */
function newProjector() {
  let state: ReturnType<CursorOptions['projector']['state']> = 'live';
  let position: LogPosition = { generation: 0, epoch: EPOCH, revision: 0, hash: null };
  let { db } = newReadModel();
  const listeners: EventListener[] = [];
  const index = (type: EventType) => {
    position = { ...position, revision: position.revision + 1 };
    db.query(`INSERT INTO event (revision, model, type, time, at, actor, request_id, data)
      VALUES (?, 1, ?, '', 0, 'ana', 'r', '{}')`).run(position.revision, type);
  };
  const readModel = {
    get db() {
      return db;
    },
    get position() {
      return position;
    },
  } as ReadModel;
  return {
    projector: { readModel, state: () => state, onEvent: (l: EventListener) => listeners.push(l) },
    becomes(next: typeof state) {
      state = next;
    },
    add(count: number, type: EventType = 'version.activated', model = 'fraud') {
      for (let i = 0; i < count; i++) index(type);
      const applied = { event: { type, model }, revision: position.revision };
      for (const listener of listeners) listener(applied as Parameters<EventListener>[0]);
    },
    restored(revision: number) {
      state = 'cut-off'; // as the tail is while it compares the logs
      position = { ...position, generation: position.generation + 1, revision: 0 };
      db = newReadModel().db;
      for (const listener of listeners) listener(null);
      for (let i = 0; i < revision; i++) index('version.activated');
      state = 'live';
    },
  };
}

/** A cursor that delivers to an array, and whose position is kept in memory. */
function newCursor({ projector }: ReturnType<typeof newProjector>, options: Partial<CursorOptions> = {}) {
  const delivered: number[] = [];
  let saved: CursorPosition | null = null;
  const start = () => {
    const cursor = startCursor({
      name: 'the test',
      projector,
      position: {
        load: async () => saved,
        save: async (position) => {
          saved = position;
        },
      },
      types: ['version.activated'],
      deliver: async (revisions) => void delivered.push(...revisions),
      log: pino({ level: 'silent' }),
      retryMs: 10,
      ...options,
    });
    onTestFinished(() => cursor.close());
    return cursor;
  };
  return { delivered, start, saved: () => saved };
}

describe('a cursor', () => {
  test('delivers the selected events of all models in the order of the log, and continues after a restart', async () => {
    const log = newProjector();
    log.add(2);
    log.add(1, 'version.published', 'churn');
    log.add(1, 'version.activated', 'churn');
    const { delivered, start, saved } = newCursor(log, { batch: 2 });
    const cursor = start();
    await expect.poll(() => delivered).toEqual([1, 2, 4]);
    log.add(1, 'notes.changed');
    log.add(1);
    await expect.poll(() => delivered).toEqual([1, 2, 4, 6]);
    await cursor.close();
    log.add(3);
    start();
    await expect.poll(() => delivered).toEqual([1, 2, 4, 6, 7, 8, 9]);
    await expect.poll(saved).toEqual({ generation: 0, epoch: shortEpoch(EPOCH), revision: 9 });
  });

  test('delivers one batch at a time', async () => {
    const log = newProjector();
    let most = 0;
    let now = 0;
    const delivered: number[] = [];
    const deliver = async (revisions: number[]) => {
      most = Math.max(most, ++now);
      await new Promise(setImmediate);
      now--;
      delivered.push(...revisions);
    };
    newCursor(log, { deliver, batch: 3 }).start();
    for (let i = 0; i < 50; i++) {
      log.add(1);
      if (i % 7 === 0) await new Promise(setImmediate);
    }
    await expect.poll(() => delivered).toEqual(Array.from({ length: 50 }, (_, i) => i + 1));
    expect(most).toBe(1);
  });

  test('waits until the log is live', async () => {
    const log = newProjector();
    log.add(3);
    log.becomes('catching-up');
    const { delivered, start } = newCursor(log);
    start();
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(delivered).toEqual([]);
    log.becomes('live');
    await expect.poll(() => delivered).toEqual([1, 2, 3]);
    log.add(1);
    await expect.poll(() => delivered).toEqual([1, 2, 3, 4]);
  });

  test('repeats a batch that failed, and reports the failure until then', async () => {
    const log = newProjector();
    log.add(5);
    let fails = true;
    const tried: number[][] = [];
    const deliver = async (revisions: number[]) => {
      tried.push(revisions);
      if (fails && revisions.includes(3)) throw new Error('no space left');
    };
    const { start, saved } = newCursor(log, { deliver, batch: 2 });
    const cursor = start();
    await expect.poll(cursor.problems).toEqual(['the test is behind the log: no space left']);
    await expect.poll(() => tried.length).toBeGreaterThan(3);
    expect(saved()).toMatchObject({ revision: 2 });
    fails = false;
    await expect.poll(cursor.problems).toEqual([]);
    expect(tried.filter((revisions) => revisions.includes(1))).toHaveLength(1);
    expect(tried.slice(-2)).toEqual([[3, 4], [5]]);
  });

  test('delivers again if the position was not saved', async () => {
    const log = newProjector();
    log.add(2);
    let fails = true;
    let saved: CursorPosition | null = null;
    const position = {
      load: async () => saved,
      save: async (next: CursorPosition) => {
        if (fails) throw new Error('the disk is full');
        saved = next;
      },
    };
    const { delivered, start } = newCursor(log, { position });
    const cursor = start();
    await expect.poll(cursor.problems).toHaveLength(1);
    fails = false;
    await expect.poll(cursor.problems).toEqual([]);
    expect(delivered.slice(0, 4)).toEqual([1, 2, 1, 2]);
  });

  test('continues at the end of a shorter, restored log', async () => {
    const log = newProjector();
    log.add(5);
    const { delivered, start, saved } = newCursor(log);
    start();
    await expect.poll(saved).toMatchObject({ generation: 0, revision: 5 });
    log.restored(3);
    await expect.poll(saved).toMatchObject({ generation: 1, revision: 3 });
    log.add(1);
    await expect.poll(() => delivered).toEqual([1, 2, 3, 4, 5, 4]);
  });

  test('waits at close for the delivery under way, and starts no other', async () => {
    const log = newProjector();
    log.add(4);
    const started = Promise.withResolvers<void>();
    const delivery = Promise.withResolvers<void>();
    const deliver = () => {
      started.resolve();
      return delivery.promise;
    };
    const { start, saved } = newCursor(log, { deliver, batch: 2 });
    const cursor = start();
    await started.promise;
    const closed = cursor.close();
    delivery.resolve();
    await closed;
    expect(saved()).toMatchObject({ revision: 2 });
  });
});

const epochs = fc.constantFrom(null, EPOCH, 'cd'.repeat(32));
const logs: fc.Arbitrary<LogPosition> = fc.record({
  generation: fc.nat(3),
  epoch: epochs,
  revision: fc.nat(20),
  hash: fc.constant(null),
});
const positions: fc.Arbitrary<CursorPosition> = fc.record({
  generation: fc.nat(3),
  epoch: epochs.map(shortEpoch),
  revision: fc.nat(20),
});
const maybe = fc.option(positions);

describe('the position to resume from', () => {
  test('is in the log, and not after what was delivered', () => {
    fc.assert(
      fc.property(maybe, logs, (position, log) => {
        const { generation, epoch, revision } = resumed(position, log);
        expect({ generation, epoch }).toEqual({ generation: log.generation, epoch: shortEpoch(log.epoch) });
        expect(revision).toBeLessThanOrEqual(log.revision);
        expect(revision).toBeLessThanOrEqual(position?.revision ?? 0);
      }),
    );
  });

  test('is the delivered one in the same log, and the start in another log', () => {
    fc.assert(
      fc.property(positions, logs, (position, log) => {
        const { revision } = resumed(position, log);
        const expected = position.epoch === shortEpoch(log.epoch) ? Math.min(position.revision, log.revision) : 0;
        expect(revision).toBe(expected);
        expect(resumed(resumed(position, log), log)).toEqual(resumed(position, log));
      }),
    );
  });
});

test('the newest position is one of those in the log, with no newer one beside it, in any order', () => {
  fc.assert(
    fc.property(fc.array(maybe), logs, (found, log) => {
      const newest = newestOf(found, log);
      const inLog = found.filter((position) => position !== null && position.epoch === shortEpoch(log.epoch));
      const order = (position: CursorPosition) => position.generation * 1000 + position.revision;
      if (newest === null) expect(inLog).toEqual([]);
      else expect(order(newest)).toBe(Math.max(...inLog.map((position) => order(position!))));
      expect(newestOf([...found].reverse(), log)).toEqual(newest);
    }),
  );
});

test('a position is parsed from a line that has more fields, and from nothing else', () => {
  fc.assert(
    fc.property(positions, fc.dictionary(fc.constantFrom('time', 'model'), fc.string()), (position, more) => {
      expect(parsePosition(JSON.stringify({ ...more, ...position }))).toEqual(position);
    }),
  );
  for (const text of ['', '{}', 'null', 'nonsense', '{"generation":0,"epoch":null}']) {
    expect(parsePosition(text)).toBeNull();
  }
});
