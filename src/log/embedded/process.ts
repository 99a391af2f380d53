import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { open, stat } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { configPath, HOST, LOG_FILE, SERVER_NAME } from './config.ts';
import { serverArguments } from './orphans.ts';
import { lastWords } from './run.ts';
import { delay } from './time.ts';

/** What pino offers and this needs. */
export interface NatsLog {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

export interface Ending {
  code: number | null;
  signal: NodeJS.Signals | null;
  /** Whether `stop` was called. */
  asked: boolean;
  /** What it wrote to standard error, which is where Go's panics go. */
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
export async function launch(launching: {
  binary: string;
  folder: string;
  port: number;
  log: NatsLog;
  signal: AbortSignal;
}): Promise<ServerProcess> {
  const { binary, folder, port, log, signal } = launching;
  const logged = await sizeOf(join(folder, LOG_FILE));
  const run = await begin(binary, folder);
  try {
    const version = await ready(port, run.ended, log, signal);
    return { ...run, version };
  } catch (cause) {
    await run.stop();
    const lines = await lastLines(folder, logged, (await run.ended).said);
    throw new Error(`nats-server did not start: ${(cause as Error).message}. Its last lines (${folder}):\n${lines}`, {
      cause,
    });
  }
}

async function begin(binary: string, folder: string): Promise<Omit<ServerProcess, 'version'>> {
  const child = spawn(binary, serverArguments(configPath(folder)), {
    cwd: folder,
    stdio: ['ignore', 'ignore', 'pipe'],
    // A group of its own: Ctrl-C in a terminal is for us, and we end the server after the last write. Windows would open a window.
    detached: process.platform !== 'win32',
    windowsHide: true,
  });
  let asked = false;
  const said = lastWords(child.stderr);
  const ended = new Promise<Ending>((resolve) => {
    child.once('exit', (code, signal) => resolve({ code, signal, asked, said: said() }));
  });
  await once(child, 'spawn').catch((cause: Error) => {
    throw new Error(`nats-server could not be started: ${cause.message}`, { cause });
  });
  // A signal that could not be sent; that the process goes on shows in `ended`. Unheard it would end this process.
  child.on('error', () => undefined);
  takeAlong(child);
  return {
    pid: child.pid!,
    ended,
    async stop() {
      asked = true;
      await end(child, ended);
    },
  };
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

/** The server takes connections only after its streams have been read, and its first line says who it is. */
async function ready(port: number, ended: Promise<Ending>, log: NatsLog, signal: AbortSignal): Promise<string> {
  const started = Date.now();
  let told = started;
  const stopped = ended.then(({ code, signal: by }) => ({ stopped: `it ended with ${by ?? code}` }));
  for (;;) {
    const seen = await Promise.race([greeting(port), stopped]);
    if (seen && 'stopped' in seen) throw new Error(seen.stopped);
    if (seen?.server_name === SERVER_NAME) return seen.version;
    if (signal.aborted) throw new Error('it was stopped while it started');
    const seconds = Math.round((Date.now() - started) / 1000);
    if (seconds * 1000 > READY_TIMEOUT_MS) throw new Error(`it takes no connections after ${seconds} s`);
    if (Date.now() - told > SAY_EVERY_MS) {
      told = Date.now();
      log.info({ seconds }, 'waiting for nats-server, which is reading its store');
    }
    await delay(50, signal);
  }
}

/** The INFO line that nats-server sends first, or undefined when nobody there sends one. */
async function greeting(port: number): Promise<{ server_name: string; version: string } | undefined> {
  const socket = connect({ host: HOST, port });
  socket.setTimeout(2000, () => socket.destroy());
  try {
    let text = '';
    for await (const chunk of socket.setEncoding('utf8')) {
      text += chunk;
      if (text.includes('\n') || text.length > 65_536) break;
    }
    return JSON.parse(text.slice(text.indexOf('{'), text.indexOf('\n')));
  } catch {
    return undefined;
  } finally {
    socket.destroy();
  }
}

async function lastLines(folder: string, from: number, said: string): Promise<string> {
  const path = join(folder, LOG_FILE);
  const size = await sizeOf(path);
  const start = Math.max(from > size ? 0 : from, size - 16 * 1024);
  const buffer = Buffer.alloc(size - start);
  if (buffer.length > 0) {
    const file = await open(path);
    await file.read(buffer, 0, buffer.length, start).finally(() => file.close());
  }
  const lines = `${buffer.toString('utf8')}\n${said}`.split('\n').filter((line) => line.trim() !== '');
  return lines.slice(-QUOTED_LINES).join('\n') || '(it wrote none)';
}

async function sizeOf(path: string): Promise<number> {
  return stat(path).then(
    ({ size }) => size,
    () => 0,
  );
}
