import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { onTestFinished } from 'vitest';
import { readSecret } from '../../src/access/secret.ts';
import { signToken } from '../../src/access/tokens.ts';
import type { Ends } from './folder.ts';

export const MAIN = join(import.meta.dirname, '../../src/cli/main.ts');

/** Where programs run: the `.env` of a developer's clone is not for tests. */
export const ELSEWHERE = import.meta.dirname;

/** A registry that runs as a process of its own, on a free port. */
export interface Program {
  url: string;
  volume: string;
  process: ChildProcess;
  /** What it wrote to standard error so far, a line each. */
  lines: string[];
  token(role?: 'admin' | 'user', actor?: string): Promise<string>;
  /** A request with an admin's token; `json` is sent as such. */
  ask(method: string, path: string, json?: unknown, headers?: Record<string, string>): Promise<Response>;
  /** SIGTERM, and waits for the end. */
  stop(): Promise<void>;
  /** SIGKILL of Node alone, and waits for its end. */
  kill(): Promise<void>;
}

/**
 * Starts `signalbox serve`; it is stopped when the test ends, or with what else `ends` stands for; `through` is a command that
 * becomes it.
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
    void ended.then(() => reject(new Error(`it ended before it served:\n${lines.join('\n')}`)));
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

/** Runs one verb of the command line against a program. */
export function cli(program: { url: string; volume: string }, ...args: string[]): Promise<Run> {
  return cliWith({ REGISTRY_DSN: program.url, REGISTRY_VOLUME: program.volume }, ...args);
}

/** Runs one verb of the command line with variables of its own. */
export function cliWith(variables: Record<string, string>, ...args: string[]): Promise<Run> {
  const env = { ...process.env, ...variables };
  return new Promise((resolve) => {
    execFile(process.execPath, [MAIN, ...args], { env, cwd: ELSEWHERE, timeout: 60_000 }, (error, stdout, stderr) => {
      resolve({ code: typeof error?.code === 'number' ? error.code : error ? -1 : 0, stdout, stderr });
    });
  });
}
