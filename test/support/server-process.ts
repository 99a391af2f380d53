import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const START_TIMEOUT_MS = 60_000;
const LOG_CHARACTERS = 20_000;

/**
 * Starts a server that keeps its data in a temporary folder, and waits until `isReady` resolves; it is asked again when it
 * rejects.
 *
 * @returns a function that stops the server and removes the folder
 */
export async function startServerProcess(
  program: string,
  argumentsIn: (folder: string) => string[],
  env: NodeJS.ProcessEnv,
  isReady: () => Promise<unknown>,
): Promise<() => Promise<void>> {
  const folder = await mkdtemp(join(tmpdir(), 'signalbox-server-'));
  const child = spawn(program, argumentsIn(folder), {
    env: { HOME: folder, PATH: process.env.PATH, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let log = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (data: Buffer) => {
      log = (log + data).slice(-LOG_CHARACTERS);
    });
  }
  const exited = once(child, 'exit');
  const failed = exited.then(() => Promise.reject(new Error('it exited')));
  const stop = async () => {
    child.kill('SIGKILL');
    await failed.catch(() => {});
    await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  };
  try {
    await Promise.race([untilReady(isReady), failed]);
  } catch (cause) {
    await stop();
    throw new Error(`${program} did not start:\n${log}`, { cause });
  }
  failed.catch(() => {}); // when it is stopped
  return stop;
}

async function untilReady(isReady: () => Promise<unknown>): Promise<void> {
  const end = Date.now() + START_TIMEOUT_MS;
  for (;;) {
    const failure = await isReady().then(
      () => null,
      (error: unknown) => ({ error }),
    );
    if (!failure) return;
    if (Date.now() > end) throw failure.error;
    await sleep(100);
  }
}
