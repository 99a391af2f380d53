import { appendFile, copyFile, mkdir, readdir, readFile, rename, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pino } from 'pino';
import { describe, expect, onTestFinished, test } from 'vitest';
import { activeVersion } from '../../src/domain/model.ts';
import { shortEpoch } from '../../src/log/identity.ts';
import { startActivationHistory } from '../../src/projections/activation-history.ts';
import { temporaryFolder } from '../support/folder.ts';
import { type Log, newLog } from './log-in-memory.ts';

const NAME = 'registry_activation_history.log';

/** A log with two models and this many activations. */
function logWith(activations: number, ...rest: Parameters<typeof newLog>): Log {
  const log = newLog(...rest);
  if (log.messages.length === 0) for (const version of ['1.0.0', '1.1.0']) log.publish(version);
  for (let i = 0; i < activations; i++) activateNext(log);
  return log;
}

function activateNext(log: Log): void {
  const now = activeVersion(log.readModel.model('fraud'), 'production');
  log.activate(now === '1.0.0' ? '1.1.0' : '1.0.0');
}

/** A folder with the file and its rotations. */
async function folder() {
  const volume = await temporaryFolder();
  const logs = join(volume, 'logs');
  const path = join(logs, NAME);
  const positionPath = join(volume, '.signalbox', 'history-position.json');
  const started = (log: Log) => {
    const options = { path, volume, retryMs: 20, log: pino({ level: 'silent' }) };
    const history = startActivationHistory({ ...options, projector: log.projector, readAt: log.readAt });
    onTestFinished(() => history.close());
    return history;
  };
  const revisions = async () => (await lines()).map(({ revision }) => revision);
  return {
    path,
    positionPath,
    volume,
    logs,
    started,
    lines,
    revisions,
    /** Runs until everything is written, then closes. */
    async caughtUp(log: Log) {
      const history = started(log);
      await expect.poll(revisions, { timeout: 10_000 }).toEqual(log.moves());
      await history.close();
    },
    async rotate(how: 'rename' | 'copy-and-truncate', to: string) {
      if (how === 'rename') return rename(path, to);
      await copyFile(path, to);
      await truncate(path);
    },
  };

  /** The lines of all files, the oldest file first: rotations are numbered. */
  async function lines() {
    const names = (await readdir(logs).catch(() => [])).filter((name) => name !== NAME).sort();
    const texts = await Promise.all([...names, NAME].map((name) => readFile(join(logs, name), 'utf8').catch(() => '')));
    const whole = texts.flatMap((text) => text.split('\n').slice(0, -1));
    return whole.map((line) => JSON.parse(line) as { revision: number; [field: string]: unknown });
  }
}

test('a line has the active versions before and after, the actor, the reason and the position in the log', async () => {
  const log = logWith(1);
  log.publish('1.0.0', 'churn');
  log.activate('1.0.0', 'fraud', 'staging');
  log.activate('1.1.0');
  const { caughtUp, lines } = await folder();
  await caughtUp(log);
  expect((await lines()).at(-1)).toEqual({
    time: '2026-03-03T14:05:05.000Z',
    event_type: 'version.activated',
    model: 'fraud',
    environment: 'production',
    version: '1.1.0',
    previous: '1.0.0',
    reason: 'better',
    actor: 'ana',
    request_id: 'r-6',
    revision: 6,
    generation: 0,
    epoch: shortEpoch(log.readModel.position.epoch),
    before: { production: '1.0.0', staging: '1.0.0' },
    after: { production: '1.1.0', staging: '1.0.0' },
  });
});

test('appends new moves, in the order of the log', async () => {
  const log = logWith(2);
  log.publish('1.0.0', 'churn');
  const { started, revisions } = await folder();
  started(log);
  for (let i = 0; i < 300; i++) {
    activateNext(log);
    if (i === 100) log.activate('1.0.0', 'churn');
    if (i % 50 === 0) await new Promise(setImmediate);
  }
  await expect.poll(revisions).toEqual(log.moves());
});

describe('continues without gaps and duplicates', () => {
  test('after a part of a line', async () => {
    const log = logWith(3);
    const { caughtUp, path, positionPath, lines } = await folder();
    await caughtUp(log);
    const whole = await readFile(path, 'utf8');
    for (const left of [1, 20, whole.length / 2, whole.length - 1]) {
      await writeFile(path, whole.slice(0, -Math.floor(left)));
      await rm(positionPath); // it is saved after the lines
      await caughtUp(log);
      expect(await readFile(path, 'utf8')).toBe(whole);
    }
    expect(await lines()).toHaveLength(3);
  });

  test('if the lines were written but their position was not saved', async () => {
    const log = logWith(2);
    const { caughtUp, positionPath } = await folder();
    await caughtUp(log);
    const saved = await readFile(positionPath);
    activateNext(log);
    await caughtUp(log);
    for (const position of [saved, '', 'nonsense']) {
      await writeFile(positionPath, position);
      await caughtUp(log);
    }
  });

  test.each(['rename', 'copy-and-truncate'] as const)(
    'after rotation by %s, before the position was saved',
    async (how) => {
      const log = logWith(2);
      const { caughtUp, positionPath, rotate, logs } = await folder();
      await caughtUp(log);
      const saved = await readFile(positionPath);
      activateNext(log);
      await caughtUp(log);
      await writeFile(positionPath, saved);
      await rotate(how, join(logs, `${NAME}.1`));
      activateNext(log);
      await caughtUp(log);
    },
  );

  test.each(['rename', 'copy-and-truncate'] as const)('after rotation to another folder by %s', async (how) => {
    const log = logWith(2);
    const { caughtUp, rotate, revisions, volume, started } = await folder();
    await caughtUp(log);
    await rotate(how, join(volume, 'elsewhere'));
    activateNext(log);
    started(log);
    await expect.poll(revisions).toEqual(log.moves().slice(-1));
  });

  test('with rotation while it runs', async () => {
    const log = logWith(1);
    const { started, revisions, rotate, logs } = await folder();
    started(log);
    for (let i = 1; i < 10; i++) {
      await expect.poll(revisions).toEqual(log.moves());
      await rotate(i % 2 ? 'rename' : 'copy-and-truncate', join(logs, `registry_activation_history-${i}.log`));
      activateNext(log);
    }
    await expect.poll(revisions).toEqual(log.moves());
  });

  test('after crashes and rotations in any order', async () => {
    const log = logWith(3);
    const { caughtUp, path, positionPath, rotate, logs } = await folder();
    await caughtUp(log);
    for (let i = 0; i < 60; i++) {
      const saved = await readFile(positionPath);
      for (let n = Math.floor(Math.random() * 4); n > 0; n--) activateNext(log);
      await caughtUp(log);
      // In a crash, the file loses a part of the end of what was written since the position was saved.
      const crashed = Math.random() < 0.6;
      if (crashed) {
        await writeFile(positionPath, saved);
        const text = await readFile(path, 'utf8').catch(() => '');
        const since = text
          .split('\n')
          .filter((line) => line && JSON.parse(line).revision > JSON.parse(`${saved}`).revision);
        const lost = Math.floor(Math.random() * since.map((line) => `${line}\n`).join('').length);
        if (lost > 0) await truncate(path, Buffer.byteLength(text) - lost);
      }
      if (Math.random() < 0.4) {
        const to = join(logs, `${NAME}-${String(i).padStart(3, '0')}`);
        await rotate(Math.random() < 0.5 ? 'rename' : 'copy-and-truncate', to).catch(() => {});
      }
    }
    activateNext(log);
    await caughtUp(log);
  });
});

test('is written again if the file and the position are lost', async () => {
  const log = logWith(600); // more than a batch
  const { caughtUp, path, positionPath } = await folder();
  await caughtUp(log);
  await rm(path);
  await rm(positionPath);
  await caughtUp(log);
});

test('does not resume from the file of another log', async () => {
  const { caughtUp, revisions, path, started, volume } = await folder();
  const one = logWith(5);
  await caughtUp(one);
  await rm(join(volume, '.signalbox'), { recursive: true });
  const other = newLog();
  other.publish('3.0.0');
  other.activate('3.0.0');
  started(other);
  await expect.poll(revisions).toEqual([...one.moves(), ...other.moves()]);
  expect(await readFile(path, 'utf8')).toContain('"3.0.0"');
});

test('ignores lines of other programs', async () => {
  const log = logWith(2);
  const { caughtUp, path, started } = await folder();
  await caughtUp(log);
  await appendFile(path, 'rotated by hand\n{}\n');
  activateNext(log);
  started(log);
  await expect.poll(async () => (await readFile(path, 'utf8')).trim().split('\n').length).toBe(5);
});

test('continues at the end of a restored log, once it is read', async () => {
  const { caughtUp, revisions, lines, started, positionPath } = await folder();
  const lost = logWith(5);
  await caughtUp(lost);
  const restored = logWith(0, 1, lost.messages.slice(0, 4));
  restored.catchingUp(true);
  const history = started(restored);
  activateNext(restored);
  await history.close(); // it has run, and left everything unchanged
  expect(await revisions()).toEqual(lost.moves());
  restored.catchingUp(false);
  started(restored);
  // Events in the restored log when it is first read count as written.
  await expect
    .poll(async () => JSON.parse(await readFile(positionPath, 'utf8')))
    .toMatchObject({ generation: 1, revision: 5 });
  activateNext(restored);
  await expect
    .poll(async () => (await lines()).slice(-2))
    .toMatchObject([
      { generation: 0, revision: 7 },
      { generation: 1, revision: 6 },
    ]);
});

test('reports that the file cannot be written, and adds the missing lines later', async () => {
  const log = logWith(2);
  const { logs, started, revisions } = await folder();
  await writeFile(logs, 'in the way');
  const history = started(log);
  await expect.poll(history.problems).toEqual([expect.stringContaining(NAME)]);
  activateNext(log);
  await rm(logs);
  await mkdir(logs);
  await expect.poll(revisions).toEqual(log.moves());
  await expect.poll(history.problems).toEqual([]);
});
