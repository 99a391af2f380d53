import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { open, rm, stat, truncate } from 'node:fs/promises';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it, onTestFinished } from 'vitest';
import { activate } from '../../src/commands/activate.ts';
import { archive } from '../../src/commands/archive.ts';
import { notes } from '../../src/commands/notes.ts';
import { publish } from '../../src/commands/publish.ts';
import { rollback } from '../../src/commands/rollback.ts';
import type { Nats } from '../../src/log/connection.ts';
import { ensureStream } from '../../src/log/stream.ts';
import { readModelFile } from '../../src/projections/read-model/file.ts';
import { file } from '../commands/support.ts';
import { createLogbook } from '../support/logbook.ts';
import { connected, startNats, type TestServer } from '../support/nats.ts';
import { cliWith, ELSEWHERE, MAIN, type Program, startProgram } from '../support/program.ts';
import { ok, until, volumeFolder } from './support.ts';

const MODELS = 30;
/** Four rounds publish one version of each model. */
const ROUNDS = 200;

/** Appends rounds of one event or none for each model, by the registry's own rules. */
async function fill(nats: Nats, rounds: number): Promise<number> {
  const { give, messages } = createLogbook(['production']);
  const names = Array.from({ length: MODELS }, (_, i) => `model-${i}`);
  const at = (i: number) => ({ at: new Date(Date.UTC(2026, 0, 1) + i * 60_000).toISOString() });
  for (let i = 0; i < rounds; i++) {
    for (const name of names) {
      const version = `1.${i >> 2}.0`;
      if (i % 4 === 0) give(publish, name, { version, artifacts: [file(name)], metrics: { auc: i / rounds } }, at(i));
      else if (i % 4 === 1) give(activate, name, { version, reason: `round ${i}` }, at(i));
      else if (i % 4 === 2) give(notes, name, { version, notes: `notes of round ${i}` }, at(i));
      else if (i % 8 === 7) give(rollback, name, { reason: 'worse' }, at(i));
      else if (i > 8) give(archive, name, { version: `1.${(i >> 2) - 2}.0` }, at(i));
    }
  }
  for (let i = 0; i < messages.length; i += 500) {
    await Promise.all(messages.slice(i, i + 500).map(({ subject, body }) => nats.js.publish(subject, body)));
  }
  return messages.length;
}

async function filledLog(
  rounds = ROUNDS,
): Promise<{ server: TestServer; env: Record<string, string>; events: number }> {
  const server = await startNats(process.env.NATS_SERVER_BIN!);
  const nats = await connected(server);
  await ensureStream(nats);
  const events = await fill(nats, rounds);
  const env = { NATS_URL: server.url, REGISTRY_DISCOVERY: 'off', REGISTRY_VOLUME: await volumeFolder() };
  return { server, env, events };
}

/** The revision of the last transaction in the file; null if there is none. */
function committed(path: string): number | null {
  try {
    const db = new DatabaseSync(path);
    try {
      return (db.prepare('SELECT revision FROM position').get()?.revision as number | undefined) ?? null;
    } finally {
      db.close();
    }
  } catch {
    return null;
  }
}

async function written(path: string): Promise<number> {
  const sizes = await Promise.all(
    ['', '-wal'].map((suffix) =>
      stat(path + suffix).then(
        ({ size }) => size,
        () => 0,
      ),
    ),
  );
  return sizes.reduce((sum, size) => sum + size, 0);
}

async function expectEqualToTheLog(program: Program, env: Record<string, string>, events: number): Promise<void> {
  const { code, stdout, stderr } = await cliWith(env, 'replay', '--verify', '--against', program.url, '--json');
  expect([code, stderr]).toEqual([0, expect.any(String)]);
  expect(JSON.parse(stdout)).toMatchObject({ verified: true, differences: [], findings: [] });
  await until(() => committed(readModelFile(env.REGISTRY_VOLUME!)) === events);
}

it('a rebuild that is killed again and again, also together with nats-server, ends in the fold of the log', {
  timeout: 90_000,
}, async () => {
  // More events than one transaction has.
  const { server, env, events } = await filledLog(1_200);
  const path = readModelFile(env.REGISTRY_VOLUME!);
  const stops: (number | null)[] = [];
  for (const [round, until] of [0.2, 2, 4, 1, 6, 9].entries()) {
    const child = spawn(process.execPath, [MAIN, 'serve'], {
      env: { ...process.env, ...env, PORT: '0', REGISTRY_HISTORY_FILE: 'off' },
      cwd: ELSEWHERE,
      stdio: 'ignore',
    });
    const ended = once(child, 'exit');
    const reached = async () => (await written(path)) > until * 1024 * 1024;
    for (let i = 0; i < 1_000 && !(await reached()); i++) await sleep(5);
    if (round % 3 === 2) await server.kill();
    child.kill('SIGKILL');
    await ended;
    stops.push(committed(path));
    if (round % 3 === 2) await server.start();
    if (round === 3) for (const suffix of ['', '-wal', '-shm']) await rm(path + suffix, { force: true });
  }
  expect(
    stops.some((at) => at !== null && at > 0 && at < events),
    `killed at ${stops} of ${events}`,
  ).toBe(true);
  const program = await startProgram(env.REGISTRY_VOLUME!, env);
  await expectEqualToTheLog(program, env, events);
});

describe('a start', () => {
  it('reads only what is new, and says nothing of the read model', async () => {
    const { env, events } = await filledLog();
    const first = await startProgram(env.REGISTRY_VOLUME!, env);
    await ok(first, 'POST', '/api/models/model-1/versions/1.0.0/restore', {});
    await first.stop();
    const second = await startProgram(env.REGISTRY_VOLUME!, env);
    expect(second.lines.join('\n')).not.toMatch(/read model/);
    await expectEqualToTheLog(second, env, events + 1);
  });
});

it.skipIf(process.platform !== 'linux')('a start ends where a quota limits what can be written', async () => {
  const { env } = await filledLog();
  // To SQLite, every error of a write but ENOSPC is one of the disk.
  const program = await startProgram(env.REGISTRY_VOLUME!, env, onTestFinished, ['prlimit', '--fsize=1000000']);
  expect(program.lines.join('\n')).toMatch('in memory until the next start');
  const { code, stdout } = await cliWith(env, 'replay', '--verify', '--against', program.url, '--json');
  expect([code, JSON.parse(stdout)]).toMatchObject([0, { verified: true, differences: [] }]);
});

it('a file that is damaged while the registry runs is made anew, and no answer is wrong meanwhile', async () => {
  const { env, events } = await filledLog();
  const program = await startProgram(env.REGISTRY_VOLUME!, env);
  const path = readModelFile(env.REGISTRY_VOLUME!);
  await program.stop();
  await truncate(path, 4096 * Math.floor((await stat(path)).size / 4096 / 3));
  const again = await startProgram(env.REGISTRY_VOLUME!, env);
  onTestFinished(() => again.stop());
  for (let i = 0; i < MODELS; i++) {
    const response = await again.ask('GET', `/api/models/model-${i}/versions?page_size=1000`);
    if (response.status !== 200) expect(await response.json()).toMatchObject({ code: 'log-unavailable' });
    else expect(((await response.json()) as { versions: unknown[] }).versions).toHaveLength(ROUNDS / 4);
  }
  await until(async () => (await again.ask('GET', '/readyz')).status === 200);
  await expectEqualToTheLog(again, env, events);
});

it('nothing is answered from a read model that is not complete', async () => {
  const { server, env, events } = await filledLog();
  const program = await startProgram(env.REGISTRY_VOLUME!, env);
  const path = readModelFile(env.REGISTRY_VOLUME!);
  await server.kill();
  expect((await program.ask('GET', '/api/models/model-1/versions/latest')).status).toBe(200);
  for (const suffix of ['', '-wal']) await overwrite(path + suffix);
  const status = async (url: string) => (await program.ask('GET', url)).status;
  await until(async () => (await status('/api/history')) === 503);
  for (const url of ['/versions/latest', '/versions', '/versions/active', '/history', '/timeline', '/events']) {
    expect([url, await status(`/api/models/model-1${url}`)]).toEqual([url, 503]);
  }
  for (const url of ['/api/models', '/api/history', '/readyz']) expect([url, await status(url)]).toEqual([url, 503]);
  expect(await status('/api/identity')).toBe(200);
  await server.start();
  await until(async () => (await status('/readyz')) === 200);
  await expectEqualToTheLog(program, env, events);
});

/** Overwrites everything but the first page. */
async function overwrite(path: string): Promise<void> {
  const { size } = await stat(path);
  const handle = await open(path, 'r+');
  await handle.write(Buffer.alloc(size - 4096, 0xa5), 0, size - 4096, 4096);
  await handle.close();
}
