import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { realpath, rename, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { jetstreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { serversOf } from '../../../src/log/embedded/orphans.ts';
import { FETCH_TIMEOUT_MS, isAlive, memoryLog, realServer, started, temporaryFolder, until } from './helpers.ts';

beforeAll(realServer, FETCH_TIMEOUT_MS);

interface Left {
  pid: number;
  url: string;
  last: number;
}

/** Starts a signalbox of its own in `folder` that ends without closing anything: by itself, or killed. */
async function leaveAServer(folder: string, how: 'exit' | 'kill'): Promise<Left> {
  const args = [join(import.meta.dirname, 'orphan-child.ts'), folder, await realServer(), how];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const exited = once(child, 'exit');
  const [line] = (await once(createInterface({ input: child.stdout }), 'line')) as [string];
  const left = JSON.parse(line) as Left;
  onTestFinished(() => {
    if (isAlive(left.pid)) process.kill(left.pid, 'SIGKILL');
  });
  if (how === 'kill') child.kill('SIGKILL');
  await exited;
  return left;
}

/** What is stored, as the server at this address says. */
async function stored(nats: { url: string; user: string; password: string }): Promise<number> {
  const nc = await connect({ servers: nats.url, user: nats.user, pass: nats.password });
  try {
    return (await (await jetstreamManager(nc)).streams.info('T')).state.messages;
  } finally {
    await nc.close();
  }
}

describe('a server left behind by a killed signalbox', { timeout: 60_000 }, () => {
  test('is ended before another one starts, and nothing acknowledged is lost', async () => {
    const parent = await temporaryFolder();
    const folder = join(parent, '.nats');
    const orphan = await leaveAServer(folder, 'kill');
    expect(isAlive(orphan.pid)).toBe(true);
    await symlink(parent, `${parent}-link`);
    await rename(`${parent}-link`, join(parent, 'link'));
    const log = memoryLog();
    const nats = await started(join(parent, 'link', '.nats'), log);
    await until(() => !isAlive(orphan.pid), 5_000);
    expect(await serversOf(join(await realpath(folder), 'nats-server.conf'))).toEqual([nats.pid]);
    expect(nats.url).toBe(orphan.url);
    expect(await stored(nats)).toBe(orphan.last);
    expect(log.told).toContainEqual(expect.objectContaining({ level: 'warn', fields: { pids: [orphan.pid] } }));
  });

  test.runIf(process.platform === 'linux')('is found also when the volume was renamed since', async () => {
    const parent = await temporaryFolder();
    const orphan = await leaveAServer(join(parent, 'before', '.nats'), 'kill');
    await rename(join(parent, 'before'), join(parent, 'after'));
    const nats = await started(join(parent, 'after', '.nats'));
    await until(() => !isAlive(orphan.pid), 5_000);
    expect(await stored(nats)).toBe(orphan.last);
  });

  test('is none when Node could still end in its own way', async () => {
    const left = await leaveAServer(join(await temporaryFolder(), '.nats'), 'exit');
    await until(() => !isAlive(left.pid), 5_000);
  });
});
