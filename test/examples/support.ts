import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, readdir, readFile } from 'node:fs/promises';
import { basename, delimiter, dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { expect, onTestFinished } from 'vitest';
import type { FleetView } from '../../src/domain/fleet.ts';
import { type Files, ok, send, until, versionForm } from '../program/support.ts';
import { cli, type Program } from '../support/program.ts';

export const ROOT = join(import.meta.dirname, '../..');
const INSTALL_TIMEOUT_MS = 10 * 60_000;
/** Time-out for a service to start or end on a busy machine. */
const SERVICE_TIMEOUT_MS = 45_000;
const REQUEST_TIMEOUT_MS = 30_000;
/** Options of one test. */
export const SLOW = { timeout: 110_000 };

/** Copies an example as it is in a new clone. */
export async function copyExample(name: string, to: string): Promise<string> {
  const made = ['node_modules', 'versions', '.venv', '__pycache__'];
  await cp(join(ROOT, 'examples', name), to, { recursive: true, filter: (path) => !made.includes(basename(path)) });
  return to;
}

/** Runs a program to its end, with this Node first in its PATH. @throws {Error} with its output, if it fails */
export async function run(command: string, args: string[], cwd: string, env: Record<string, string> = {}) {
  const options = { cwd, env: { ...variables(), ...env }, timeout: INSTALL_TIMEOUT_MS, maxBuffer: 16 * 1024 * 1024 };
  try {
    return (await promisify(execFile)(command, args, options)).stdout;
  } catch (error) {
    const { stdout, stderr } = error as { stdout: string; stderr: string };
    throw new Error(`${command} ${args.join(' ')} failed:\n${stdout}\n${stderr}`, { cause: error });
  }
}

function variables(): NodeJS.ProcessEnv {
  return { ...process.env, PATH: `${dirname(process.execPath)}${delimiter}${process.env.PATH}` };
}

/** An inference service in a separate process. */
export interface Service {
  url: string;
  pid: number;
  /** Its output so far. */
  output(): string;
  /** Sends SIGTERM and returns the exit code. */
  stop(): Promise<number | null>;
}

/** Starts a service and waits until it prints its address; it is stopped when the test ends. */
export async function startService(
  command: string,
  args: string[],
  cwd: string,
  env: Record<string, string>,
): Promise<Service> {
  const child = spawn(command, args, { cwd, env: { ...variables(), ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
  const ended = once(child, 'exit');
  const stop = async () => {
    child.kill('SIGTERM');
    const late = setTimeout(() => child.kill('SIGKILL'), SERVICE_TIMEOUT_MS);
    await ended;
    clearTimeout(late);
    return child.exitCode;
  };
  onTestFinished(async () => void (await stop()));
  let output = '';
  const url = await new Promise<string>((resolve, reject) => {
    const late = setTimeout(
      () => reject(new Error(`The service has not printed its address:\n${output}`)),
      SERVICE_TIMEOUT_MS,
    );
    for (const stream of [child.stdout, child.stderr]) {
      createInterface(stream).on('line', (line) => {
        output += `${line}\n`;
        const found = / on (http:\/\/[\d.:]+)/.exec(line)?.[1];
        if (!found) return;
        clearTimeout(late);
        resolve(found);
      });
    }
    void ended.then(() => {
      clearTimeout(late);
      reject(new Error(`The service ended before it printed its address:\n${output}`));
    });
  });
  return { url, pid: child.pid!, output: () => output, stop };
}

/** Requests that are repeated until they are stopped. */
export interface Traffic {
  /** Resolves after this many more answers of a version. */
  sees(version: string, count?: number): Promise<void>;
  /** Stops the requests and returns the reasons of all failures. */
  stop(): Promise<string[]>;
}

const CLIENTS = 4;

/** Repeats `ask`, several at a time; it returns the version that answered. */
export function requests(ask: (turn: number) => Promise<string>): Traffic {
  const answers = new Map<string, number>();
  const failures: string[] = [];
  let stopped = false;
  const clients = Promise.all(Array.from({ length: CLIENTS }, client));
  const stop = async () => {
    stopped = true;
    await clients;
    return failures;
  };
  onTestFinished(async () => void (await stop()));
  return {
    async sees(version, count = 20) {
      const seen = () => answers.get(version) ?? 0;
      const enough = seen() + count;
      while (seen() < enough) {
        if (stopped || failures.length > 0) throw new Error(`${version} is not seen:\n${failures.join('\n')}`);
        await sleep(20);
      }
    },
    stop,
  };

  async function client(_: unknown, turn: number): Promise<void> {
    while (!stopped && failures.length < 10) {
      try {
        const version = await ask(turn++);
        answers.set(version, (answers.get(version) ?? 0) + 1);
      } catch (error) {
        failures.push(String((error as Error).cause ?? error));
      }
      await sleep(5);
    }
  }
}

/** Sends a POST with JSON that must succeed. */
export async function post(url: string, json: unknown) {
  const headers = { 'Content-Type': 'application/json' };
  const signal = AbortSignal.timeout(REQUEST_TIMEOUT_MS);
  const response = await fetch(url, { method: 'POST', headers, body: JSON.stringify(json), signal });
  const text = await response.text();
  if (!response.ok) throw new Error(`${response.status}: ${text}`);
  return JSON.parse(text);
}

/** Runs a command of the CLI that must succeed. */
export async function signalbox(program: Program, ...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await cli(program, ...args);
  expect(code, `signalbox ${args.join(' ')}: ${stderr}`).toBe(0);
  return stdout;
}

export async function fleetOf(program: Program, model: string): Promise<FleetView> {
  return ok(program, 'GET', `/api/models/${model}/loaders`);
}

/** Waits until this many loaders serve the active version. */
export async function converged(program: Program, model: string, count: number): Promise<void> {
  await until(async () => (await fleetOf(program, model)).environments.production?.converged === count, 60_000);
}

/** Reads the files of a version from the registry's volume. */
export async function filesOf(program: Program, model: string, version: string): Promise<Files> {
  const folder = join(program.volume, 'models', model, 'versions', version);
  const names = await readdir(folder);
  return Object.fromEntries(await Promise.all(names.map(async (name) => [name, await readFile(join(folder, name))])));
}

/** Publishes the files as another version, with these fields. */
export async function publishAs(
  program: Program,
  model: string,
  body: { version: string; requires?: object },
  files: Files,
) {
  const response = await send(program, 'POST', `/api/models/${model}/versions`, versionForm(body, files));
  expect(response.status, await response.text()).toBe(201);
}

export function goldenOf(files: Files): { requests: { input: number[][]; output: unknown[] }[] } {
  return JSON.parse(Buffer.from(files['golden.json'] as Uint8Array).toString());
}

/** Returns the files with wrong outputs in `golden.json`. */
export function withWrongGolden(files: Files): Files {
  const golden = goldenOf(files);
  golden.requests[0]!.output.reverse();
  return { ...files, 'golden.json': JSON.stringify(golden) };
}
