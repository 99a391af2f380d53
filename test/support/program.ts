import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { onTestFinished } from 'vitest';
import { readSecret } from '../../src/access/secret.ts';
import { signToken } from '../../src/access/tokens.ts';
import type { Ends } from './folder.ts';

export const MAIN = join(import.meta.dirname, '../../src/cli/main.ts');

/** Working folder of the programs: tests must not read the `.env` of a developer's clone. */
export const ELSEWHERE = import.meta.dirname;

/** A registry that runs as a separate process, on a free port. */
export interface Program {
  url: string;
  volume: string;
  process: ChildProcess;
  /** The lines it has written to standard error so far. */
  lines: string[];
  token(role?: 'admin' | 'user', actor?: string): Promise<string>;
  /** Sends a request with an admin's token and an optional JSON body. */
  ask(method: string, path: string, json?: unknown, headers?: Record<string, string>): Promise<Response>;
  /** Sends SIGTERM and waits for the exit. */
  stop(): Promise<void>;
  /** Sends SIGKILL to Node alone and waits for its exit. */
  kill(): Promise<void>;
}

/**
 * Starts `signalbox serve`, until the test ends or `ends` runs its cleanup. `through` is a command that executes it.
 */
export async function startProgram(
  volume: string,
  env: Record<string, string> = {},
  ends: Ends = onTestFinished,
  through: string[] = [],
): Promise<Program> {
  const [command, ...args] = [...through, process.execPath, MAIN, 'serve'];
  const child = spawn(command!, args, {
    env: {
      ...process.env,
      PORT: '0',
      REGISTRY_VOLUME: volume,
      REGISTRY_ACTIVATION_LIMIT: '0',
      REGISTRY_COMMAND_LIMIT: '0',
      REGISTRY_HISTORY_FILE: 'off',
      ...env,
    },
    cwd: ELSEWHERE,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const lines: string[] = [];
  const ended = once(child, 'exit');
  const end = async (signal: NodeJS.Signals) => {
    if (child.exitCode === null && child.signalCode === null) child.kill(signal);
    await ended;
  };
  ends(() => end('SIGTERM'));
  const url = await new Promise<string>((resolve, reject) => {
    createInterface(child.stderr).on('line', (line) => {
      lines.push(line);
      const found = /^Signalbox serves on (\S+)/.exec(line)?.[1];
      if (found) resolve(found);
    });
    void ended.then(() => reject(new Error(`it exited before it was ready:\n${lines.join('\n')}`)));
  });
  const secret = async () => (env.REGISTRY_JWT_SECRET ? Buffer.from(env.REGISTRY_JWT_SECRET) : readSecret(volume));
  const token = async (role: 'admin' | 'user' = 'admin', actor = 'tester') =>
    signToken((await secret())!, { actor, role }, 600, new Date());
  return {
    url,
    volume,
    process: child,
    lines,
    token,
    async ask(method, path, json, headers) {
      const all = { Authorization: `Bearer ${await token()}`, ...headers };
      if (json === undefined) return fetch(url + path, { method, headers: all });
      const typed = { 'Content-Type': 'application/json', ...all };
      return fetch(url + path, { method, headers: typed, body: JSON.stringify(json) });
    },
    stop: () => end('SIGTERM'),
    kill: () => end('SIGKILL'),
  };
}

export interface Run {
  code: number;
  stdout: string;
  stderr: string;
}

/** Runs a CLI command against a program. */
export function cli(program: { url: string; volume: string }, ...args: string[]): Promise<Run> {
  return cliWith({ REGISTRY_DSN: program.url, REGISTRY_VOLUME: program.volume }, ...args);
}

/** Runs a CLI command with additional environment variables. */
export function cliWith(variables: Record<string, string>, ...args: string[]): Promise<Run> {
  const env = { ...process.env, ...variables };
  return new Promise((resolve) => {
    execFile(process.execPath, [MAIN, ...args], { env, cwd: ELSEWHERE, timeout: 60_000 }, (error, stdout, stderr) => {
      resolve({ code: typeof error?.code === 'number' ? error.code : error ? -1 : 0, stdout, stderr });
    });
  });
}
