import {
  appendFileSync,
  copyFileSync,
  existsSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { chmod } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, expect, onTestFinished, test } from 'vitest';
import { publish } from '../../../src/commands/publish.ts';
import { Problem } from '../../../src/domain/errors.ts';
import { EVENT_VERSIONS } from '../../../src/domain/events.ts';
import type { LogMessage } from '../../../src/log/read.ts';
import { ReadModel } from '../../../src/projections/read-model/read-model.ts';
import { markOf } from '../../../src/projections/read-model/schema.ts';
import { file } from '../../commands/support.ts';
import { canMount, smallDisk } from '../../loader/disk.ts';
import { temporaryFolder } from '../../support/folder.ts';
import { createLogbook } from '../../support/logbook.ts';

const VERSIONS = 400;
const messages = written();

/** The messages of one model with many versions. */
function written(): LogMessage[] {
  const book = createLogbook();
  for (let i = 0; i < VERSIONS; i++) {
    const notes = `version ${i} ${'x'.repeat(300)}`;
    book.give(
      publish,
      'fraud',
      { version: `1.${i}.0`, artifacts: [file()], notes },
      { at: '2026-03-03T14:05:00.000Z' },
    );
  }
  return book.messages.map(({ revision, body }) => ({ revision, model: 'fraud', body }));
}

/** A read model in a file; `warnings` are those of every opening. */
async function stored(folder?: string) {
  const path = join(folder ?? (await temporaryFolder()), 'sub', 'read-model.db');
  const warnings: string[] = [];
  let damaged = 0;
  const note = (_: object, text: string) => void warnings.push(text);
  const open = () => {
    const readModel = new ReadModel({ path, log: { warn: note, error: note } as never, onDamage: () => damaged++ });
    onTestFinished(() => readModel.close());
    return readModel;
  };
  return { path, warnings, open, damaged: () => damaged };
}

function fill(readModel: ReadModel, until = messages.length): void {
  for (const message of messages.slice(readModel.position.revision, until)) readModel.fold(message);
  readModel.commit();
}

function expectWhole(readModel: ReadModel): void {
  expect(readModel.position.revision).toBe(messages.length);
  expect(readModel.model('fraud')).toMatchObject({ versionCount: VERSIONS, latest: `1.${VERSIONS - 1}.0` });
  for (let i = 0; i < VERSIONS; i++) {
    expect(readModel.model('fraud').version(`1.${i}.0`)!.notes).toMatch(`version ${i} `);
  }
}

test('a file is opened at the position of its last commit, without a warning', async () => {
  const { open, warnings } = await stored();
  const first = open();
  fill(first, 100);
  first.fold(messages[100]!);
  first.close();
  const second = open();
  expect(second.position).toMatchObject({ revision: 100 });
  fill(second);
  expectWhole(second);
  expect(warnings).toEqual([]);
});

describe('a file is made anew if it', () => {
  test.each<[string, (path: string) => void]>([
    ['is empty', (path) => truncateSync(path, 0)],
    ['is cut within its first page', (path) => truncateSync(path, 2_000)],
    ['is not a database', (path) => writeFileSync(path, 'x'.repeat(100_000))],
    ['is a database of something else', other],
    ['was made by other code', (path) => change(path, `UPDATE made_by SET mark = 'later'`)],
    ['was made by code that read other events', (path) => change(path, `UPDATE made_by SET mark = '${OLDER}'`)],
    ['has no position', (path) => change(path, 'DROP TABLE position')],
    ['has a digest that cannot be continued', (path) => change(path, `UPDATE position SET digest = x'00'`)],
  ])('%s', async (_, harm) => {
    const { path, open, warnings } = await stored();
    const first = open();
    fill(first);
    first.close();
    harm(path);
    const second = open();
    expect(second.position).toMatchObject({ revision: 0 });
    expect(warnings.length).toBeGreaterThan(0);
    fill(second);
    expectWhole(second);
    second.close();
    expectWhole(open());
  });
});

/** The mark of code that froze a model at its first event of a type that is known now. */
const { 'runtime.declared': _, ...known } = EVENT_VERSIONS;
const OLDER = markOf(known);

function other(path: string): void {
  truncateSync(path, 0);
  change(path, 'CREATE TABLE x (y)');
}

function change(path: string, sql: string): void {
  const db = new DatabaseSync(path);
  db.exec(sql);
  db.close();
}

describe('a file that is damaged further on', () => {
  test.each<[string, (path: string) => void]>([
    ['cut in the middle', (path) => truncateSync(path, 4096 * Math.floor(statSync(path).size / 8192))],
    ['overwritten in the middle', (path) => overwrite(path, 0.2)],
  ])('%s never gives a wrong answer: SQLite reports it, and it is made anew', async (_, harm) => {
    const { path, open, damaged } = await stored();
    const first = open();
    fill(first);
    first.close();
    harm(path);
    const second = open();
    let failed = 0;
    for (let i = 0; i < VERSIONS; i++) {
      try {
        const version = second.model('fraud').version(`1.${i}.0`);
        if (version) expect(version.notes).toMatch(`version ${i} `);
      } catch (error) {
        expect(error).toBeInstanceOf(Problem);
        expect(error).toMatchObject({ code: 'log-unavailable' });
        failed++;
      }
    }
    if (second.position.revision === 0) return; // found when it was opened
    expect([failed > 0, damaged() > 0]).toEqual([true, true]);
    second.reset(0);
    fill(second);
    expectWhole(second);
  });
});

/** Overwrites everything after a part of the file. */
function overwrite(path: string, from: number): void {
  const { size } = statSync(path);
  const start = 4096 * Math.floor((size * from) / 4096);
  writeSync(openSync(path, 'r+'), Buffer.alloc(size - start, 0xa5), 0, size - start, start);
}

test('a file that is deleted while it is open serves on, and is made anew at the next start', async () => {
  const { path, open } = await stored();
  const first = open();
  fill(first, 200);
  for (const suffix of ['', '-wal', '-shm']) rmSync(path + suffix, { force: true });
  fill(first);
  expectWhole(first);
  first.close();
  const second = open();
  expect(second.position.revision).toBe(0);
  fill(second);
  expectWhole(second);
});

test('a file that another process has locked is replaced', async () => {
  const { path, open, warnings } = await stored();
  const first = open();
  fill(first);
  first.close();
  const holder = new DatabaseSync(path);
  onTestFinished(() => holder.close());
  holder.exec('BEGIN EXCLUSIVE');
  const second = open();
  fill(second);
  expectWhole(second);
  expect(warnings.length).toBeGreaterThan(0);
  holder.exec('ROLLBACK');
  second.close();
  expectWhole(open());
});

test.skipIf(process.getuid?.() === 0)('a file that cannot be written is replaced', async () => {
  const { path, open } = await stored();
  const first = open();
  fill(first);
  first.close();
  await chmod(path, 0o444);
  const second = open();
  fill(second);
  expectWhole(second);
});

test.skipIf(!canMount)('on a full disk, a start keeps the read model in memory', async () => {
  const disk = await smallDisk(64);
  writeFileSync(join(disk, 'filler'), Buffer.alloc(60 * 1024));
  const { open, warnings, path } = await stored(disk);
  const readModel = open();
  fill(readModel);
  expectWhole(readModel);
  expect(readModel.db.path).toBe(':memory:');
  expect(warnings.join()).toMatch('in memory until the next start');
  expect(existsSync(path) && readFileSync(path).length > 1_000_000).toBe(false);
});

test.skipIf(!canMount)('wherever a disk is full while a file is made, a start and a reset succeed', async () => {
  const disk = await smallDisk(1_000);
  for (let free = 4; free < 900; free += 4) {
    writeFileSync(join(disk, 'filler'), Buffer.alloc((1_000 - free) * 1024));
    const path = join(disk, 'read-model.db');
    const readModel = new ReadModel({ path, log: { warn() {}, error() {} } });
    try {
      expect(readModel.position).toMatchObject({ generation: 0, revision: 0 });
      readModel.reset(1);
      expect(readModel.position).toMatchObject({ generation: 1, revision: 0 });
    } finally {
      readModel.close();
      for (const suffix of ['', '-wal', '-shm']) rmSync(path + suffix, { force: true });
    }
  }
});

test.skipIf(!canMount)(
  'a disk that fills up undoes the transaction, which can be repeated when there is space',
  async () => {
    const disk = await smallDisk(4_000);
    const { open } = await stored(disk);
    const readModel = open();
    fill(readModel, 50);
    const filler = join(disk, 'filler');
    expect(() => {
      for (;;) appendFileSync(filler, Buffer.alloc(4096));
    }).toThrow('ENOSPC');
    expect(() => fill(readModel)).toThrow('full');
    expect(readModel.position.revision).toBe(50);
    expect(readModel.model('fraud')).toMatchObject({ versionCount: 50, latest: '1.49.0' });
    expect(readModel.model('fraud').version('1.50.0')).toBeNull();
    rmSync(filler);
    fill(readModel);
    expectWhole(readModel);
  },
);

test('a copy of the file is the same read model', async () => {
  const { path, open } = await stored();
  const first = open();
  fill(first);
  first.close();
  copyFileSync(path, `${path}.copy`);
  const copy = new ReadModel({ path: `${path}.copy`, log: { warn() {}, error() {} } });
  onTestFinished(() => copy.close());
  expectWhole(copy);
});
