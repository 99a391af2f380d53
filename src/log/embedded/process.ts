import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { once } from 'node:events';
import { open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { clause } from '../../domain/clause.ts';
import { configPath, LOG_FILE, type NatsLog, type ServerAddress } from './config.ts';
import { versionAt } from './health.ts';
import { serverArguments } from './orphans.ts';

interface Ending {
  code: number | null;
  signal: NodeJS.Signals | null;
  /** The last lines of its log. */
  said: string;
}

/** One run of nats-server that has become ready. */
export interface ServerProcess {
  pid: number;
  version: string;
  ended: Promise<Ending>;
  stop(): Promise<void>;
}

// A store of millions of messages is read through when its index is missing: minutes, and killing it would begin them again.
const READY_TIMEOUT_MS = 15 * 60_000;
const SAY_EVERY_MS = 5_000;
const TERMINATE_MS = 10_000;
const QUOTED_LINES = 8;

/** Starts the server on the configuration in its folder and waits until it takes connections; throws when it does not. */
export async function launch(
  { binary, folder, log }: { binary: string; folder: string; log: NatsLog },
  health: ServerAddress,
  signal: AbortSignal,
): Promise<ServerProcess> {
  const run = await begin(binary, folder);
  try {
    return { ...run, version: await ready(health, run.ended, log, signal) };
  } catch (cause) {
    await run.stop();
    const { said } = await run.ended;
    throw new Error(
      `nats-server did not start: ${clause((cause as Error).message)}. Its last lines (${folder}):\n${said}`,
      {
        cause,
      },
    );
  }
}

async function begin(binary: string, folder: string): Promise<Omit<ServerProcess, 'version'>> {
  // The server's own log takes its standard error too, which is where Go's panics go.
  const log = await open(join(folder, LOG_FILE), 'a', 0o600);
  try {
    const { size } = await log.stat();
    // A group of its own: Ctrl-C in a terminal is for us, and we end the server after the last write.
    const options: SpawnOptions = { cwd: folder, stdio: ['ignore', 'ignore', log.fd], detached: true };
    const child = spawn(binary, serverArguments(configPath(folder)), options);
    const ended = new Promise<Ending>((resolve) => {
      child.once('exit', async (code, signal) => resolve({ code, signal, said: await lastLines(folder, size) }));
    });
    await once(child, 'spawn');
    // A signal that could not be sent; that the process goes on shows in `ended`. Unheard it would end this process.
    child.on('error', () => undefined);
    takeAlong(child);
    return { pid: child.pid!, ended, stop: () => end(child, ended) };
  } finally {
    await log.close();
  }
}

/** When Node ends without having closed anything, the server ends too; only a `kill -9` leaves it behind. */
function takeAlong(child: ChildProcess): void {
  const kill = () => child.kill('SIGTERM');
  process.once('exit', kill);
  child.once('exit', () => process.off('exit', kill));
}

async function end(child: ChildProcess, ended: Promise<Ending>): Promise<void> {
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), TERMINATE_MS);
  await ended;
  clearTimeout(timer);
}

/**
 * Answers with the version once the server takes connections, which it does only after its streams have been read. The
 * password tells it from a stranger on its port.
 */
async function ready(
  health: ServerAddress,
  ended: Promise<Ending>,
  log: NatsLog,
  signal: AbortSignal,
): Promise<string> {
  const givenUp = AbortSignal.any([signal, AbortSignal.timeout(READY_TIMEOUT_MS)]);
  const ending = ended.then((how) => ({ how }));
  const saying = setInterval(() => log.info({}, 'waiting for nats-server, which is reading its store'), SAY_EVERY_MS);
  try {
    for (;;) {
      const seen = await Promise.race([versionAt(health).catch(() => undefined), ending]);
      if (typeof seen === 'string') return seen;
      if (seen) throw new Error(`it ended with ${seen.how.signal ?? seen.how.code}`);
      givenUp.throwIfAborted();
      await sleep(50);
    }
  } finally {
    clearInterval(saying);
  }
}

/** Of what was logged after `from`, a position; of all of it when the server has begun a new file since. */
async function lastLines(folder: string, from: number): Promise<string> {
  const logged = await readFile(join(folder, LOG_FILE)).catch(() => Buffer.alloc(0));
  const text = logged.subarray(from > logged.length ? 0 : from).toString('utf8');
  return text.trimEnd().split('\n').slice(-QUOTED_LINES).join('\n') || '(it wrote none)';
}
