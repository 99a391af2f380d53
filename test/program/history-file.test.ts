import { existsSync } from 'node:fs';
import { copyFile, readdir, readFile, rename, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { startNats } from '../support/nats.ts';
import { type Program, startProgram } from '../support/program.ts';
import { ok, publish, until, volumeFolder, wholeHistory } from './support.ts';

const NAME = 'registry_activation_history.log';
const MOVES = ['version.activated', 'version.rolled_back', 'version.deactivated'];

/** A registry on a separate nats-server, which keeps running when the registry is killed. */
async function started() {
  const nats = await startNats(process.env.NATS_SERVER_BIN!);
  const volume = await volumeFolder();
  const logs = join(volume, 'logs');
  const path = join(logs, NAME);
  const env = { NATS_URL: nats.url, REGISTRY_DISCOVERY: 'off', REGISTRY_HISTORY_FILE: path };
  return { volume, logs, path, start: () => startProgram(volume, env), revisions, expected };

  /** The revision of each complete line, the oldest file first. */
  async function revisions(): Promise<number[]> {
    const names = (await readdir(logs).catch(() => [])).filter((name) => name !== NAME).sort();
    const texts = await Promise.all([...names, NAME].map((name) => readFile(join(logs, name), 'utf8').catch(() => '')));
    return texts.flatMap((text) => text.split('\n').slice(0, -1)).map((line) => JSON.parse(line).revision);
  }

  async function expected(program: Program): Promise<number[]> {
    const events = await wholeHistory(program);
    return events.filter(({ type }) => MOVES.includes(type)).map(({ revision }) => revision);
  }
}

/** Moves the environment between two versions until it is stopped, or the registry does not respond. */
function thrash(program: Program): { moved(): number; stop(): Promise<void> } {
  let stopped = false;
  let moved = 0;
  const running = (async () => {
    for (let i = 0; !stopped; i++) {
      const path = `/api/models/default/versions/1.${i % 2}.0/activate`;
      const answer = await program.ask('POST', path, {}).catch(() => null);
      if (!answer) return;
      await answer.arrayBuffer().catch(() => {});
      if (answer.ok) moved++;
    }
  })();
  return {
    moved: () => moved,
    async stop() {
      stopped = true;
      await running;
    },
  };
}

describe('the activation history', () => {
  it('has each move once and in order, after kills and rotations', { timeout: 120_000 }, async () => {
    const { logs, path, start, revisions, expected } = await started();
    let program = await start();
    await publish(program, '1.0.0');
    await publish(program, '1.1.0');
    for (let i = 0; i < 8; i++) {
      const to = join(logs, `${NAME}-${i}`);
      const moving = thrash(program);
      await until(() => moving.moved() > 2 && existsSync(path));
      await sleep(Math.random() * 100);
      // A rename is safe at any time; copying and truncating loses what is written in between.
      if (i % 4 === 0) await rename(path, to);
      await sleep(Math.random() * 50);
      await program.kill();
      await moving.stop();
      if (i % 4 === 1) await rename(path, to);
      if (i % 4 === 2) {
        await copyFile(path, to);
        await truncate(path);
      }
      program = await start();
    }
    const all = await expected(program);
    await until(async () => (await revisions()).length >= all.length);
    expect(await revisions()).toEqual(all);
  });

  it('is written again if it and its position are lost, and /readyz reports if it cannot be written', async () => {
    const { volume, logs, start, revisions, expected } = await started();
    let program = await start();
    await publish(program, '1.0.0');
    await ok(program, 'POST', '/api/models/default/versions/1.0.0/activate', {});
    await ok(program, 'POST', '/api/models/default/deactivate', { reason: 'r' });
    await until(async () => (await revisions()).length === 2);
    await program.stop();
    await rename(logs, join(volume, 'lost'));
    await rename(join(volume, '.signalbox/history-position.json'), join(volume, 'lost/position'));
    await copyFile(join(volume, 'lost/position'), logs); // a file in place of the folder
    program = await start();
    const history = async () => (await ok(program, 'GET', '/readyz')).history;
    await until(async () => (await history()).length === 1);
    expect(await history()).toEqual([expect.stringContaining(NAME)]);
    await ok(program, 'POST', '/api/models/default/versions/1.0.0/activate', {});
    await rename(logs, join(volume, 'out-of-the-way'));
    await until(async () => (await history()).length === 0);
    expect(await revisions()).toEqual(await expected(program));
    expect(await revisions()).toHaveLength(3);
  });
});
