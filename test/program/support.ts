import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { cp, lstat, mkdir, readdir, readlink, realpath } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeAll, expect, onTestFinished } from 'vitest';
import { serversOf } from '../../src/log/embedded/orphans.ts';
import { type Ends, temporaryFolder } from '../support/folder.ts';
import { type Program, startProgram } from '../support/program.ts';

export const SAMPLES = join(import.meta.dirname, '../../registry/versions');

/** Shares a resource between all tests of a file, and ends it after the last test. */
export function shared<T>(make: (ends: Ends) => Promise<T>, timeoutMs?: number): () => T {
  let value: T;
  beforeAll(async () => {
    const undo: (() => Promise<void>)[] = [];
    const end = async () => {
      for (const step of undo.reverse()) await step();
    };
    try {
      value = await make((step) => undo.push(step));
    } catch (error) {
      await end();
      throw error;
    }
    return end;
  }, timeoutMs);
  return () => value;
}

/** Starts a registry on an empty volume. */
export async function emptyProgram(ends: Ends, env: Record<string, string> = {}): Promise<Program> {
  return startProgram(await volumeFolder(ends), { REGISTRY_DISCOVERY: 'off', ...env }, ends);
}

/** Creates a folder for a volume. A nats-server left by a killed registry is ended before the folder is deleted. */
export async function volumeFolder(ends: Ends = onTestFinished): Promise<string> {
  const folder = await realpath(await temporaryFolder(ends));
  ends(async () => {
    for (const pid of await natsServersOf(folder)) process.kill(pid, 'SIGKILL');
    await until(async () => (await natsServersOf(folder)).length === 0);
  });
  return folder;
}

/** Returns the process ids of the nats-servers that use a volume's store. */
export async function natsServersOf(volume: string): Promise<number[]> {
  const folder = join(volume, '.nats');
  return existsSync(folder) ? serversOf(join(folder, 'nats-server.conf')) : [];
}

/** Creates a version's folder with these files in `versions/`, as a user may copy one. */
export async function copySample(name: string, to: string): Promise<void> {
  await mkdir(join(to, '..'), { recursive: true });
  await cp(join(SAMPLES, name), to, { recursive: true });
}

export async function until(holds: () => boolean | Promise<boolean>, withinMs = 25_000): Promise<void> {
  const deadline = Date.now() + withinMs;
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error(`not within ${withinMs} ms: ${holds}`);
    await sleep(100);
  }
}

export function sha256(bytes: Uint8Array | string): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

export type Files = Record<string, string | Uint8Array<ArrayBuffer>>;

export function artifactsOf(files: Files) {
  return Object.entries(files).map(([path, bytes]) => ({
    path,
    digest: sha256(bytes),
    size: Buffer.byteLength(bytes),
  }));
}

/** Returns a multipart body with the parts in this order. */
export function formOf(parts: [name: string, content: string | Uint8Array<ArrayBuffer>][]): FormData {
  const form = new FormData();
  for (const [name, content] of parts) form.append(name, new Blob([content]), 'file');
  return form;
}

/** Returns the usual form of a version: the manifest, then every file. */
export function versionForm(body: object, files: Files): FormData {
  const manifest = JSON.stringify({ artifacts: artifactsOf(files), ...body });
  return formOf([['manifest', manifest], ...Object.entries(files)]);
}

export type Body = RequestInit['body'];

/** Sends a body with an admin's token. */
export async function send(
  program: Program,
  method: string,
  path: string,
  body: Body,
  headers: Record<string, string> = {},
): Promise<Response> {
  const all = { Authorization: `Bearer ${await program.token()}`, ...headers };
  const init: RequestInit & { duplex?: 'half' } = { method, headers: all, body };
  if (body instanceof ReadableStream) init.duplex = 'half';
  return fetch(program.url + path, init);
}

/** Publishes a version as multipart. */
export async function publish(
  program: Program,
  version: string,
  files: Files = { 'a.txt': version },
  model = 'default',
) {
  const response = await send(program, 'POST', `/api/models/${model}/versions`, versionForm({ version }, files));
  const body = JSON.parse(await response.text());
  expect(response.status, JSON.stringify(body)).toBe(201);
  return body;
}

/** Returns the answer of a request that must succeed. */
export async function ok(program: Program, method: string, path: string, json?: unknown) {
  const response = await program.ask(method, path, json);
  const text = await response.text();
  expect(response.ok, `${method} ${path}: ${response.status} ${text}`).toBe(true);
  return text === '' ? null : JSON.parse(text);
}

/** Waits until every folder that is to be on the volume was laid. */
export async function laid(program: Program): Promise<void> {
  await until(async () => {
    const { volume_progress } = await ok(program, 'GET', '/readyz');
    return volume_progress.laid === volume_progress.total;
  });
}

/** Checks that a response is a complete problem document with this code, and returns it. */
export async function problemOf(response: Response, status: number, code: string) {
  const text = await response.text();
  expect([response.status, text]).toEqual([status, expect.stringContaining(`"code":"${code}"`)]);
  expect(response.headers.get('content-type')).toBe('application/problem+json');
  const problem = JSON.parse(text);
  expect(problem).toMatchObject({
    type: `urn:signalbox:error:${code}`,
    title: expect.any(String),
    status,
    code,
    request_id: response.headers.get('x-request-id'),
  });
  expect(problem.detail.length).toBeGreaterThan(10);
  return problem;
}

/** Returns everything that a refusal must not change: the blobs, the log and the visible folders. */
export async function stored(program: Program) {
  const { headers } = await fetch(`${program.url}/healthz`);
  const revision = headers.get('registry-revision');
  return { revision, blobs: await tree(join(program.volume, 'blobs')), files: await visible(program.volume) };
}

/** Returns the visible paths of a volume, links with their targets. */
export async function visible(volume: string): Promise<string[]> {
  const all = await tree(volume);
  return all.filter((path) => !/^(\.nats|\.signalbox|blobs)(\/|$)/.test(path));
}

async function tree(folder: string, prefix = ''): Promise<string[]> {
  const found: string[] = [];
  const names = await readdir(join(folder, prefix)).catch(() => []);
  for (const name of names.sort()) {
    const path = prefix + name;
    const stat = await lstat(join(folder, path)).catch(() => null);
    if (!stat) continue;
    if (stat.isSymbolicLink()) found.push(`${path} -> ${await readlink(join(folder, path))}`);
    else if (stat.isDirectory()) found.push(`${path}/`, ...(await tree(folder, `${path}/`)));
    else found.push(path);
  }
  return found;
}

/** Returns every event of a model, oldest first. */
export async function wholeHistory(program: Program, model = 'default') {
  const events: HistoryEvent[] = [];
  let token = '';
  do {
    const page = await ok(
      program,
      'GET',
      `/api/models/${model}/history?page_size=500${token && `&page_token=${token}`}`,
    );
    events.push(...page.events);
    token = page.next_page_token ?? '';
  } while (token);
  return events.reverse();
}

export interface HistoryEvent {
  revision: number;
  type: string;
  time: string;
  actor: string;
  request_id: string;
  data: Record<string, unknown>;
}

/** Opens a raw connection, for requests that no HTTP client sends. */
export async function rawSocket(program: Program) {
  const { port, hostname } = new URL(program.url);
  const socket = connect(Number(port), hostname);
  socket.on('error', () => {});
  await once(socket, 'connect');
  let received = '';
  socket.on('data', (chunk) => {
    received += chunk;
  });
  return { socket, received: () => received };
}
