import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { realpath, rename, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { jetstreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { serversOf } from '../../../src/log/embedded/orphans.ts';
import { temporaryFolder } from '../../support/folder.ts';
import { FETCH_TIMEOUT_MS, isAlive, memoryLog, realServer, started, until } from './helpers.ts';

beforeAll(realServer, FETCH_TIMEOUT_MS);

interface Orphan {
  pid: number;
  url: string;
  last: number;
}

/** Starts a signalbox in `folder` that exits or is killed without closing its server. */
async function startAndAbandon(folder: string, how: 'exit' | 'kill'): Promise<Orphan> {
  const args = [join(import.meta.dirname, 'orphan-child.ts'), folder, await realServer(), how];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const exited = once(child, 'exit');
  const [line] = (await once(createInterface({ input: child.stdout }), 'line')) as [string];
  const orphan = JSON.parse(line) as Orphan;
  onTestFinished(() => {
    if (isAlive(orphan.pid)) process.kill(orphan.pid, 'SIGKILL');
  });
  if (how === 'kill') child.kill('SIGKILL');
  await exited;
  return orphan;
}

/** Returns the number of messages stored on the server at this address. */
async function stored(nats: { url: string; user: string; password: string }): Promise<number> {
  const nc = await connect({ servers: nats.url, user: nats.user, pass: nats.password });
  try {
    return (await (await jetstreamManager(nc)).streams.info('T')).state.messages;
  } finally {
    await nc.close();
  }
}

describe('a server that a killed signalbox left running', { timeout: 60_000 }, () => {
  test('is terminated before another one starts, and no acknowledged message is lost', async () => {
    const parent = await temporaryFolder();
    const folder = join(parent, '.nats');
    const orphan = await startAndAbandon(folder, 'kill');
    expect(isAlive(orphan.pid)).toBe(true);
    await symlink(parent, `${parent}-link`);
    await rename(`${parent}-link`, join(parent, 'link'));
    const log = memoryLog();
    const nats = await started(join(parent, 'link', '.nats'), log);
    await until(() => !isAlive(orphan.pid), 5_000);
    expect(await serversOf(join(await realpath(folder), 'nats-server.conf'))).toEqual([nats.pid]);
    expect(nats.url).toBe(orphan.url);
    expect(await stored(nats)).toBe(orphan.last);
    expect(log.lines).toContainEqual(expect.objectContaining({ level: 'warn', fields: { pids: [orphan.pid] } }));
  });

  test.runIf(process.platform === 'linux')('is found even if the volume was renamed', async () => {
    const parent = await temporaryFolder();
    const orphan = await startAndAbandon(join(parent, 'before', '.nats'), 'kill');
    await rename(join(parent, 'before'), join(parent, 'after'));
    const nats = await started(join(parent, 'after', '.nats'));
    await until(() => !isAlive(orphan.pid), 5_000);
    expect(await stored(nats)).toBe(orphan.last);
  });

  test('does not exist after a normal exit of Node', async () => {
    const { pid } = await startAndAbandon(join(await temporaryFolder(), '.nats'), 'exit');
    await until(() => !isAlive(pid), 5_000);
  });
});
