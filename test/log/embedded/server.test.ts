import { mkdir, readFile, stat, symlink } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { jetstream, jetstreamManager } from '@nats-io/jetstream';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { lockVolume } from '../../../src/files/lock.ts';
import { type EmbeddedNats, startNatsServer } from '../../../src/log/embedded/server.ts';
import { temporaryFolder } from '../../support/folder.ts';
import { FETCH_TIMEOUT_MS, isAlive, memoryLog, realServer, script, started, until } from './helpers.ts';

beforeAll(realServer, FETCH_TIMEOUT_MS);

async function connected(nats: EmbeddedNats): Promise<NatsConnection> {
  const nc = await connect({
    servers: nats.url,
    user: nats.user,
    pass: nats.password,
    maxReconnectAttempts: -1,
    reconnectTimeWait: 100,
  });
  onTestFinished(() => nc.close());
  return nc;
}

async function append(nc: NatsConnection): Promise<number> {
  await (await jetstreamManager(nc)).streams.add({ name: 'T', subjects: ['t.*'], storage: 'file' });
  return (await jetstream(nc).publish('t.a', 'x')).seq;
}

const portOf = (nats: EmbeddedNats) => Number(new URL(nats.url).port);
const isRunning = (nats: EmbeddedNats) => (pid: number) => nats.pid !== pid && isAlive(nats.pid);

describe('the embedded server', { timeout: 30_000 }, () => {
  test('stores messages on disk, stops on close, and restarts on the same port with the same password', async () => {
    const folder = join(await temporaryFolder(), 'a volume', '.nats');
    const nats = await started(folder);
    const nc = await connected(nats);
    expect(await append(nc)).toBe(1);
    expect(nats.version).toMatch(/^2\.\d+\.\d+$/);
    await nc.close();
    await nats.close();
    await nats.close();
    expect(isAlive(nats.pid)).toBe(false);
    const again = await started(folder);
    expect([again.url, again.password]).toEqual([nats.url, nats.password]);
    expect(await append(await connected(again))).toBe(2);
  });

  test('refuses connections without the password', async () => {
    const nats = await started(await temporaryFolder());
    const attempt = (options: object) => connect({ servers: nats.url, reconnect: false, timeout: 3000, ...options });
    await expect(attempt({})).rejects.toThrow();
    await expect(attempt({ user: nats.user, pass: 'guess' })).rejects.toThrow();
    await expect(attempt({ user: 'health', pass: nats.password })).rejects.toThrow();
  });

  test('makes its files accessible only to their owner', async () => {
    const folder = join(await temporaryFolder(), '.nats');
    await mkdir(folder, { mode: 0o755 });
    const nats = await started(folder);
    const mode = async (name: string) => (await stat(join(folder, name))).mode & 0o777;
    expect(await mode('.')).toBe(0o700);
    expect(await mode('nats-server.conf')).toBe(0o600);
    expect(await mode('address.json')).toBe(0o600);
    const address = JSON.parse(await readFile(join(folder, 'address.json'), 'utf8'));
    expect(address).toEqual({ url: nats.url, user: nats.user, password: nats.password });
  });

  test('belongs to one Signalbox at a time, even if another path leads to the volume', async () => {
    const parent = await temporaryFolder();
    const lock = lockVolume(join(parent, 'one'));
    const nats = await started(join(parent, 'one', '.nats'));
    await symlink(join(parent, 'one'), join(parent, 'two'));
    expect(() => lockVolume(join(parent, 'two'))).toThrow(/Another Signalbox/);
    expect(isAlive(nats.pid)).toBe(true);
    lock.release();
    lockVolume(join(parent, 'two')).release();
  });

  test('restarts on the same port after a crash, and clients reconnect by themselves', async () => {
    const log = memoryLog();
    const nats = await started(await temporaryFolder(), log);
    const nc = await connected(nats);
    await append(nc);
    const { pid, url } = nats;
    process.kill(pid, 'SIGKILL');
    await until(() => isRunning(nats)(pid), 10_000);
    expect(nats.url).toBe(url);
    await until(
      () =>
        append(nc).then(
          (seq) => seq >= 2,
          () => false,
        ),
      10_000,
    );
    expect(log.lines).toContainEqual(
      expect.objectContaining({ level: 'error', message: expect.stringMatching(/exited unexp/) }),
    );
  });

  test('moves to another port if its own was taken, and calls the listener', async () => {
    const nats = await started(await temporaryFolder());
    const { pid, url } = nats;
    const moves: string[] = [];
    nats.onAddress((address) => moves.push(address.url));
    const thief = createServer().on('error', () => undefined);
    onTestFinished(() => new Promise<void>((resolve) => thief.close(() => resolve())));
    process.kill(pid, 'SIGKILL');
    await until(() => {
      if (!thief.listening) thief.listen(portOf(nats), '127.0.0.1');
      return thief.listening;
    }, 5_000);
    await until(() => isRunning(nats)(pid) && moves.length > 0, 15_000);
    expect(nats.url).not.toBe(url);
    expect(moves).toEqual([nats.url]);
    expect(await append(await connected(nats))).toBe(1);
  });

  test('does not restart after close, even if it crashed just before', async () => {
    const nats = await started(await temporaryFolder());
    process.kill(nats.pid, 'SIGKILL');
    await nats.close();
    const { pid } = nats;
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect([isAlive(pid), nats.pid]).toEqual([false, pid]);
  });

  test('reports the log of a server that cannot start, and leaves the folder usable', async () => {
    const folder = await temporaryFolder();
    const bad = await script(join(folder, 'bad-server'), 'echo "cannot open the store" >&2; exit 3');
    const attempt = startNatsServer({ folder: join(folder, '.nats'), binary: bad, log: memoryLog() });
    await expect(attempt).rejects.toThrow(/exited with 3[\s\S]*cannot open the store/);
    expect((await started(join(folder, '.nats'))).pid).toBeGreaterThan(0);
  });
});
