import { rmSync, statSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { DEFAULT_POLICY } from '../../../src/access/policy.ts';
import { publish } from '../../../src/commands/publish.ts';
import { listsInThisThread, startListReader } from '../../../src/projections/lists/reader.ts';
import { ReadModel } from '../../../src/projections/read-model/read-model.ts';
import { file } from '../../commands/support.ts';
import { temporaryFolder } from '../../support/folder.ts';
import { createLogbook } from '../../support/logbook.ts';

const settings = { policy: DEFAULT_POLICY, environments: ['production'] };
const identity = { actor: 'ana', role: 'admin', groups: [] };
const FIRST = { below: Number.MAX_SAFE_INTEGER, page_size: 100 };

const book = createLogbook();
for (let i = 0; i < 300; i++) {
  book.give(publish, 'fraud', { version: `1.${i}.0`, artifacts: [file()] }, { at: '2026-03-03T14:05:00.000Z' });
}
const messages = book.messages.map(({ revision, body }) => ({ revision, model: 'fraud', body }));

async function reader(timeoutMs?: number) {
  const path = join(await temporaryFolder(), 'read-model.db');
  const readModel = new ReadModel({ path, log: { warn() {}, error() {} } });
  let damages = 0;
  const lists = startListReader(readModel, settings, () => void damages++, timeoutMs);
  onTestFinished(async () => {
    await lists.close();
    readModel.close();
  });
  const fold = (from: number, to: number) => {
    for (const message of messages.slice(from, to)) readModel.fold(message);
    readModel.commit();
  };
  return { path, readModel, lists, fold, damages: () => damages };
}

test('a thread answers what this thread would, from the last commit on', async () => {
  const { readModel, lists, fold } = await reader();
  const here = listsInThisThread(readModel, settings);
  for (let i = 0; i < 20; i++) {
    fold(i, i + 1);
    expect((await lists.list('names', { model: 'fraud' })).result).toHaveLength(i + 1);
  }
  fold(20, 300);
  readModel.index();
  for (const list of [lists, here]) {
    expect((await list.list('versions', { ...FIRST, model: 'fraud' })).result.entries).toHaveLength(100);
  }
  for (const [name, query] of [
    ['models', { ...FIRST, identity }],
    ['versions', { ...FIRST, model: 'fraud', status: 'ready' }],
    ['history', { ...FIRST, identity }],
    ['timeline', { ...FIRST, model: 'fraud' }],
  ] as const) {
    expect(await lists.list(name, query as never), name).toEqual(await here.list(name, query as never));
  }
});

test('a list has the position that it shows, also if the log goes on before it is read', async () => {
  const { lists, fold } = await reader();
  fold(0, 1);
  const asked = [];
  for (let i = 1; i < 200; i++) {
    asked.push(lists.list('names', { model: 'fraud' }));
    fold(i, i + 1);
    if (i % 10 === 0) await lists.list('names', { model: 'fraud' });
  }
  for (const { result, position } of await Promise.all(asked)) expect(result).toHaveLength(position.revision);
});

test('many lists at once are each answered', async () => {
  const { lists, fold } = await reader();
  fold(0, 300);
  const asked = Array.from({ length: 500 }, (_, i) =>
    lists.list('versions', { below: i + 2, page_size: 1, model: 'fraud' }),
  );
  const answers = await Promise.all(asked);
  const versions = answers.map(({ result: { entries } }) => (entries[0] ? JSON.parse(entries[0]).version : null));
  expect(versions).toEqual(asked.map((_, i) => `1.${Math.min(i, 299)}.0`));
});

test('a read model that was made anew is opened again', async () => {
  const { readModel, lists, fold } = await reader();
  fold(0, 50);
  expect((await lists.list('names', { model: 'fraud' })).result).toHaveLength(50);
  readModel.reset(1);
  expect((await lists.list('names', { model: 'fraud' })).result).toEqual([]);
  fold(0, 7);
  expect((await lists.list('names', { model: 'fraud' })).result).toHaveLength(7);
});

test('a damaged file is reported, and refused until it is made anew', async () => {
  const { path, readModel, lists, fold, damages } = await reader();
  fold(0, 300);
  readModel.db.exec('PRAGMA wal_checkpoint(TRUNCATE)');
  truncateSync(path, 4096 * Math.floor(statSync(path).size / 4096 / 4));
  await expect(lists.list('history', { ...FIRST, page_size: 1000, identity })).rejects.toMatchObject({
    code: 'log-unavailable',
  });
  expect(damages()).toBeGreaterThan(0);
  readModel.reset(0);
  fold(0, 300);
  expect((await lists.list('history', { ...FIRST, page_size: 1000, identity })).result.entries).toHaveLength(300);
});

test('lists that were asked before the read model was made anew do not report its damage again', async () => {
  const path = join(await temporaryFolder(), 'read-model.db');
  const readModel = new ReadModel({ path, log: { warn() {}, error() {} } });
  for (const message of messages) readModel.fold(message);
  readModel.commit();
  readModel.db.exec('PRAGMA wal_checkpoint(TRUNCATE)');
  truncateSync(path, 4096 * Math.floor(statSync(path).size / 4096 / 4));
  let damages = 0;
  const rebuild = () => {
    damages++;
    readModel.reset(0);
  };
  const lists = startListReader(readModel, settings, rebuild);
  onTestFinished(async () => {
    await lists.close();
    readModel.close();
  });
  const asked = Array.from({ length: 50 }, () => lists.list('history', { ...FIRST, page_size: 1000, identity }));
  const answers = await Promise.allSettled(asked);
  expect(answers.map((answer) => answer.status === 'rejected' && answer.reason.code)).toEqual(
    asked.map(() => 'log-unavailable'),
  );
  expect(damages).toBe(1);
});

test('a file that was deleted when the thread opens it is reported', async () => {
  const { path, readModel, lists, fold, damages } = await reader();
  fold(0, 50);
  expect((await lists.list('names', { model: 'fraud' })).result).toHaveLength(50);
  await lists.close(); // as after a list that took too long
  for (const suffix of ['', '-wal', '-shm']) rmSync(path + suffix);
  await expect(lists.list('names', { model: 'fraud' })).rejects.toMatchObject({ code: 'log-unavailable' });
  expect(damages()).toBe(1);
  readModel.reset(0);
  fold(0, 7);
  expect((await lists.list('names', { model: 'fraud' })).result).toHaveLength(7);
});

test('a list that takes too long is refused, and the next ones are answered', async () => {
  // Longer than the start of a thread on a busy machine, and shorter than what the lists below take together.
  const { readModel, lists, fold } = await reader(1_500);
  fold(0, 10);
  readModel.db.exec(`WITH RECURSIVE n (i) AS (SELECT 1000 UNION ALL SELECT i + 1 FROM n WHERE i < 2000000)
    INSERT INTO event (revision, model, type, time, at, actor, request_id, data)
    SELECT i, 1, 'version.archived', '', 0, 'someone with a long name to compare', 'r', '{}' FROM n`);
  const slow = { ...FIRST, identity, actor: 'nobody', version: '1.0.0' };
  const many = Array.from({ length: 60 }, () => lists.list('history', slow));
  await expect(Promise.all(many)).rejects.toMatchObject({ code: 'list-timeout' });
  await Promise.allSettled(many);
  await expect
    .poll(() => lists.list('names', { model: 'fraud' }).catch(() => null), { timeout: 20_000 })
    .toMatchObject({ result: { length: 10 } });
});

test('a closed reader leaves no list waiting', async () => {
  const { lists, fold } = await reader();
  fold(0, 300);
  // It may fail while the reader is being closed.
  const failure = lists.list('history', { ...FIRST, identity }).then(
    () => null,
    ({ code }) => code,
  );
  await lists.close();
  expect([null, 'list-timeout']).toContain(await failure);
});
