import { mkdir, writeFile } from 'node:fs/promises';
import { delimiter, dirname } from 'node:path';
import { onTestFinished } from 'vitest';
import { findNatsServer } from '../../../src/log/embedded/binary.ts';
import type { EmbeddedNats, NatsLog } from '../../../src/log/embedded/server.ts';
import { startNatsServer } from '../../../src/log/embedded/server.ts';

/** Writes a shell script that prints a version as `nats-server --version` does. */
export async function fakeServer(path: string, version: string): Promise<string> {
  return script(path, `echo "nats-server: v${version}"`);
}

export async function script(path: string, body: string): Promise<string> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, `#!/bin/sh\n${body}\n`, { mode: 0o755 });
  return path;
}

/** Returns an environment with only the system's programs on PATH, after the folders `first`. */
export function cleanEnvironment(cache: string, ...first: string[]): NodeJS.ProcessEnv {
  return { PATH: [...first, '/usr/bin', '/bin'].join(delimiter), HOME: cache, XDG_CACHE_HOME: cache };
}

export interface LogLine {
  level: 'info' | 'warn' | 'error';
  fields: Record<string, unknown>;
  message: string;
}

export function memoryLog(): NatsLog & { lines: LogLine[] } {
  const lines: LogLine[] = [];
  const at = (level: LogLine['level']) => (fields: object, message: string) => {
    lines.push({ level, fields: { ...fields }, message });
  };
  return { lines, info: at('info'), warn: at('warn'), error: at('error') };
}

/** For `beforeAll`: if the server is not cached, it is fetched first, possibly by a build with Go. */
export const FETCH_TIMEOUT_MS = 15 * 60_000;

export async function realServer(): Promise<string> {
  return (await findNatsServer({ progress: (line) => console.error(line) })).path;
}

/** Starts a server that is closed when the test ends. */
export async function started(folder: string, log: NatsLog = memoryLog()): Promise<EmbeddedNats> {
  const nats = await startNatsServer({ folder, binary: await realServer(), log });
  onTestFinished(() => nats.close());
  return nats;
}

export async function until(condition: () => boolean | Promise<boolean>, withinMs: number): Promise<void> {
  const deadline = Date.now() + withinMs;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`not within ${withinMs} ms: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
