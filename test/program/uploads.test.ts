import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { type CallOptions, createClient, type RegistryClient, RegistryUnreachable } from '../../src/client/client.ts';
import { sendFile } from '../../src/client/upload.ts';
import { digestOfBytes, someBytes } from '../support/bytes.ts';
import { temporaryFolder } from '../support/folder.ts';
import { cliWith, type Program, startProgram } from '../support/program.ts';
import { startTcpProxy, type TcpProxy } from '../support/proxy.ts';
import { emptyProgram, ok, send, shared, until, volumeFolder } from './support.ts';

const MIB = 1024 * 1024;
const program = shared(emptyProgram);
let seeds = 0;

/** A folder with one large file, and its bytes. */
async function largeFolder(size: number) {
  const folder = join(await temporaryFolder(), 'out');
  await mkdir(folder);
  const bytes = someBytes(size, 1_000 + ++seeds);
  await writeFile(join(folder, 'model.bin'), bytes);
  return { folder, bytes, digest: digestOfBytes(bytes) };
}

function publishThrough(proxy: TcpProxy, { volume }: Program, folder: string, model: string) {
  const variables = { REGISTRY_DSN: `http://127.0.0.1:${proxy.port}`, REGISTRY_VOLUME: volume };
  return cliWith(variables, 'publish', folder, '--version', '1.0.0', '-m', model);
}

async function storedBytes({ volume }: Program, digest: string): Promise<Buffer> {
  return readFile(join(volume, 'blobs', digest.replace(':', '/')));
}

const unfinishedIn = ({ volume }: Program) => readdir(join(volume, 'blobs/unfinished'));

it('a publish whose connection is cut again and again sends every byte about once', async () => {
  const { folder, bytes, digest } = await largeFolder(40 * MIB);
  const proxy = await startTcpProxy(program().url);
  proxy.cutAfter(8 * MIB, 4);
  const { code, stderr } = await publishThrough(proxy, program(), folder, 'cut');
  expect([code, stderr]).toEqual([0, '']);
  expect((await storedBytes(program(), digest)).equals(bytes)).toBe(true);
  expect(await unfinishedIn(program())).toEqual([]);
  expect(proxy.received()).toBeGreaterThan(40 * MIB);
  // Without going on it would be 72 MiB.
  expect(proxy.received()).toBeLessThan(44 * MIB);
});

it('equal files are sent once, also after a cut', async () => {
  const { folder, bytes } = await largeFolder(10 * MIB);
  await writeFile(join(folder, 'copy.bin'), bytes);
  const proxy = await startTcpProxy(program().url);
  proxy.cutAfter(6 * MIB, 1);
  expect((await publishThrough(proxy, program(), folder, 'twice')).code).toBe(0);
  expect(proxy.received()).toBeLessThan(12 * MIB);
});

it('an upload goes on after the registry was killed', async () => {
  const volume = await volumeFolder();
  const killed = await startProgram(volume, { REGISTRY_DISCOVERY: 'off' });
  const { bytes, digest } = await largeFolder(12 * MIB);
  const { port } = new URL(killed.url);
  const socket = connect(Number(port), '127.0.0.1').on('error', () => {});
  onTestFinished(() => void socket.destroy());
  const head = `PUT /api/blobs/${digest} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${await killed.token()}`;
  socket.write(`${head}\r\nContent-Length: ${bytes.length}\r\n\r\n`);
  socket.write(bytes.subarray(0, 6 * MIB));
  await until(async () => (await sizeOfOnly(killed)) >= 5 * MIB);
  await killed.kill();

  const program = await startProgram(volume, { REGISTRY_DISCOVERY: 'off' });
  const state = await ok(program, 'GET', `/api/uploads/${digest}`);
  expect(state).toMatchObject({ upload_complete: false });
  expect(state.upload_offset).toBeGreaterThanOrEqual(5 * MIB);
  const rest = new Uint8Array(bytes.subarray(state.upload_offset));
  const headers = {
    'Upload-Offset': String(state.upload_offset),
    'Upload-Complete': '?1',
    'Content-Type': 'application/partial-upload',
  };
  expect((await send(program, 'PATCH', `/api/uploads/${digest}`, rest, headers)).status).toBe(201);
  expect((await storedBytes(program, digest)).equals(bytes)).toBe(true);
});

it('a publish goes on after the registry was killed and started again', async () => {
  const volume = await volumeFolder();
  const killed = await startProgram(volume, { REGISTRY_DISCOVERY: 'off' });
  const { folder, bytes, digest } = await largeFolder(16 * MIB);
  const proxy = await startTcpProxy(killed.url);
  proxy.delay(10);
  const publishing = publishThrough(proxy, killed, folder, 'killed');
  await until(async () => (await sizeOfOnly(killed)) >= 4 * MIB);
  await killed.kill();
  proxy.heal();
  const program = await startProgram(volume, { REGISTRY_DISCOVERY: 'off', PORT: new URL(killed.url).port });
  const { code, stderr } = await publishing;
  expect([code, stderr]).toEqual([0, '']);
  expect((await storedBytes(program, digest)).equals(bytes)).toBe(true);
  expect(await unfinishedIn(program)).toEqual([]);
  const patched = program.lines.filter((line) => line.includes('/api/uploads/') && line.includes('"PATCH"'));
  expect(patched).not.toEqual([]);
});

it('a signed publish goes on, too', async () => {
  const { folder, bytes, digest } = await largeFolder(8 * MIB);
  const reach = { allow: ['publish', 'read'] };
  const { key } = await ok(program(), 'POST', '/api/keys', { name: 'trainer', reach, signing: true });
  const proxy = await startTcpProxy(program().url);
  proxy.cutAfter(5 * MIB, 1);
  const variables = {
    REGISTRY_DSN: `http://127.0.0.1:${proxy.port}`,
    REGISTRY_SIGNING_KEY: key,
    REGISTRY_VOLUME: '/nowhere',
  };
  const run = await cliWith(variables, 'publish', folder, '--version', '1.0.0', '-m', 'signed');
  expect([run.code, run.stderr]).toEqual([0, '']);
  expect(proxy.received()).toBeLessThan(9 * MIB);
  expect((await storedBytes(program(), digest)).equals(bytes)).toBe(true);
});

it('an upload of which all bytes arrived is completed without another byte', async () => {
  const { folder, bytes, digest } = await largeFolder(2 * MIB);
  const headers = { 'Upload-Offset': '0', 'Upload-Complete': '?0', 'Content-Type': 'application/partial-upload' };
  const path = `/api/uploads/${digest}`;
  expect((await send(program(), 'PATCH', path, new Uint8Array(bytes), headers)).status).toBe(204);
  const client = createClient({ dsn: program().url, token: () => program().token() });
  const sent: string[] = [];
  const breaking: RegistryClient = {
    ...client,
    async call<T>(method: string, path: string, options?: CallOptions) {
      sent.push(method);
      if (method === 'PUT') throw new RegistryUnreachable('The connection broke before the answer.');
      return client.call<T>(method, path, options);
    },
  };
  const artifact = { path: 'model.bin', digest, size: bytes.length };
  await sendFile(breaking, join(folder, 'model.bin'), artifact, () => {}, { pausesMs: [0], idleMs: 60_000 });
  expect(sent).toEqual(['PUT', 'GET', 'PATCH']);
  expect((await storedBytes(program(), digest)).equals(bytes)).toBe(true);
});

it('the offset of an upload whose connection hangs is told, and its connection ends', async () => {
  const { bytes, digest } = await largeFolder(4 * MIB);
  const socket = connect(Number(new URL(program().url).port), '127.0.0.1').on('error', () => {});
  onTestFinished(() => void socket.destroy());
  const closed = new Promise((resolve) => socket.once('close', resolve));
  const head = `PUT /api/blobs/${digest} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${await program().token()}`;
  socket.write(`${head}\r\nContent-Length: ${bytes.length}\r\n\r\n`);
  socket.write(bytes.subarray(0, 3 * MIB));
  await until(async () => (await sizeOfOnly(program())) >= 2 * MIB);
  const response = await program().ask('HEAD', `/api/uploads/${digest}`);
  expect(Number(response.headers.get('upload-offset'))).toBeGreaterThanOrEqual(2 * MIB);
  await closed;
});

/** The size of the only unfinished upload; 0 if there is none. */
async function sizeOfOnly(program: Program): Promise<number> {
  const [name] = await unfinishedIn(program);
  if (name === undefined) return 0;
  const found = await stat(join(program.volume, 'blobs/unfinished', name)).catch(() => null);
  return found?.size ?? 0;
}
