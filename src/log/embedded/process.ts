import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { once } from 'node:events';
import { open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { clause } from '../../domain/clause.ts';
import { configPath, LOG_FILE, type NatsLog, type ServerAddress } from './config.ts';
import { versionAt } from './health.ts';
import { serverArguments } from './orphans.ts';

interface Exit {
  code: number | null;
  signal: NodeJS.Signals | null;
  /** The last lines of its log. */
  output: string;
}

/** One run of nats-server that has become ready. */
export interface ServerProcess {
  pid: number;
  version: string;
  exited: Promise<Exit>;
  stop(): Promise<void>;
}

// Without an index, the server reads its whole store at the start: minutes for millions of messages. A kill starts it over.
const READY_TIMEOUT_MS = 15 * 60_000;
const PROGRESS_EVERY_MS = 5_000;
const EXIT_TIMEOUT_MS = 10_000;
const QUOTED_LINES = 8;

/** Starts the server and waits until it accepts connections. @throws {Error} with the end of its log, if it does not */
export async function launch(
  { binary, folder, log }: { binary: string; folder: string; log: NatsLog },
  health: ServerAddress,
  signal: AbortSignal,
): Promise<ServerProcess> {
  const run = await spawnServer(binary, folder);
  try {
    return { ...run, version: await untilReady(health, run.exited, log, signal) };
  } catch (cause) {
    await run.stop();
    const { output } = await run.exited;
    const reason = clause((cause as Error).message);
    throw new Error(`nats-server did not start: ${reason}. The end of its log (${folder}):\n${output}`, { cause });
  }
}

async function spawnServer(binary: string, folder: string): Promise<Omit<ServerProcess, 'version'>> {
  // Standard error goes to the server's own log file, so that the file also has the panics of Go.
  const log = await open(join(folder, LOG_FILE), 'a', 0o600);
  try {
    const { size } = await log.stat();
    // Its own process group: Ctrl-C in a terminal must not reach the server, which has to stop after the last write.
    const options: SpawnOptions = { cwd: folder, stdio: ['ignore', 'ignore', log.fd], detached: true };
    const child = spawn(binary, serverArguments(configPath(folder)), options);
    const exited = new Promise<Exit>((resolve) => {
      child.once('exit', async (code, signal) => resolve({ code, signal, output: await lastLines(folder, size) }));
    });
    await once(child, 'spawn');
    // Emitted if a signal cannot be sent. Without a listener it would crash this process; `exited` shows what happened.
    child.on('error', () => undefined);
    stopWithNode(child);
    return { pid: child.pid!, exited, stop: () => stop(child, exited) };
  } finally {
    await log.close();
  }
}

/** Stops the server when Node exits without closing it. Only a `kill -9` of Node leaves it running. */
function stopWithNode(child: ChildProcess): void {
  const kill = () => child.kill('SIGTERM');
  process.once('exit', kill);
  child.once('exit', () => process.off('exit', kill));
}

async function stop(child: ChildProcess, exited: Promise<Exit>): Promise<void> {
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), EXIT_TIMEOUT_MS);
  await exited;
  clearTimeout(timer);
}

/**
 * Waits until the server accepts connections, which is after it has read its streams. Returns its version. The password
 * tells it apart from another program on the same port.
 */
async function untilReady(
  health: ServerAddress,
  exited: Promise<Exit>,
  log: NatsLog,
  signal: AbortSignal,
): Promise<string> {
  const timeout = AbortSignal.any([signal, AbortSignal.timeout(READY_TIMEOUT_MS)]);
  const progress = setInterval(() => log.info({}, 'nats-server is reading its store; waiting'), PROGRESS_EVERY_MS);
  try {
    for (;;) {
      const result = await Promise.race([versionAt(health).catch(() => undefined), exited]);
      if (typeof result === 'string') return result;
      if (result) throw new Error(`it exited with ${result.signal ?? result.code}`);
      timeout.throwIfAborted();
      await sleep(50);
    }
  } finally {
    clearInterval(progress);
  }
}

/** Returns the last lines logged after byte `from`, or of the whole file if the server has since started a new one. */
async function lastLines(folder: string, from: number): Promise<string> {
  const logged = await readFile(join(folder, LOG_FILE)).catch(() => Buffer.alloc(0));
  const text = logged.subarray(from > logged.length ? 0 : from).toString('utf8');
  return text.trimEnd().split('\n').slice(-QUOTED_LINES).join('\n') || '(nothing was logged)';
}
