import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readdir, readFile, readlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { cli, cliWith, type Program, startProgram } from '../support/program.ts';
import {
  type Files,
  natsServersOf,
  ok,
  publish,
  sha256,
  until,
  versionForm,
  volumeFolder,
  wholeHistory,
} from './support.ts';

const MODELS = ['default', 'other'];
const WORKERS = 6;
const OFF = { REGISTRY_DISCOVERY: 'off' };

/** The acknowledged commands, and the versions that the next commands may name. */
class Load {
  readonly acknowledged: { model: string; type: string; request_id: string; version: string }[] = [];
  readonly versions = new Map(MODELS.map((model) => [model, [] as string[]]));
  #count = 0;

  /** Publishes, activates and annotates until `stopped`; a failed command is not acknowledged. */
  async run(program: Program, stopped: AbortSignal): Promise<void> {
    const token = await program.token();
    const worker = async () => {
      while (!stopped.aborted) {
        await this.#command(program, token, stopped).catch(() => sleep(20));
      }
    };
    await Promise.all(Array.from({ length: WORKERS }, worker));
  }

  async #command(program: Program, token: string, stopped: AbortSignal): Promise<void> {
    const model = MODELS[this.#count % MODELS.length]!;
    const known = this.versions.get(model)!;
    const request_id = `r${this.#count++}`;
    const headers = { Authorization: `Bearer ${token}`, 'X-Request-Id': request_id };
    const json = { ...headers, 'Content-Type': 'application/json' };
    const path = `${program.url}/api/models/${model}/versions`;
    const signal = AbortSignal.any([stopped, AbortSignal.timeout(15_000)]);
    if (known.length < 2 || Math.random() < 0.4) {
      const files: Files = { 'model.bin': randomBytes(400_000), 'deep/metadata.json': `{"n":${this.#count}}` };
      const version = `1.0.${this.#count}`;
      // As bytes: fetch lets an error escape if it is aborted while it reads a FormData (undici's extractBody).
      const form = new Response(versionForm({ version }, files));
      const multipart = { ...headers, 'Content-Type': form.headers.get('content-type')! };
      const response = await fetch(path, { method: 'POST', headers: multipart, body: await form.bytes(), signal });
      await response.text();
      if (response.status !== 201) return;
      known.push(version);
      this.acknowledged.push({ model, type: 'version.published', request_id, version });
      return;
    }
    const version = known[Math.floor(Math.random() * known.length)]!;
    const notes = Math.random() < 0.2;
    const response = notes
      ? await fetch(`${path}/${version}/notes`, {
          method: 'PATCH',
          headers: json,
          body: JSON.stringify({ notes: request_id }),
          signal,
        })
      : await fetch(`${path}/${version}/activate`, { method: 'POST', headers: json, body: '{}', signal });
    await response.text();
    const type = notes ? 'notes.changed' : 'version.activated';
    if (response.status === 200) this.acknowledged.push({ model, type, request_id, version });
  }
}

it.each([
  ['Node', ['node', 'node', 'node']],
  ['nats-server', ['nats', 'nats', 'nats']],
  ['both', ['both', 'both', 'node', 'nats', 'both']],
])('kill -9 of %s under load loses no acknowledged event', { timeout: 120_000 }, async (_, kills) => {
  const volume = await volumeFolder();
  const load = new Load();
  let program = await startProgram(volume, OFF);
  for (const what of kills) {
    const stop = new AbortController();
    const running = load.run(program, stop.signal);
    const before = load.acknowledged.length;
    await until(() => load.acknowledged.length > before + 5);
    await sleep(Math.random() * 700);
    const servers = await natsServersOf(volume);
    if (what !== 'node') for (const pid of servers) process.kill(pid, 'SIGKILL');
    if (what !== 'nats') await program.kill();
    else await until(async () => !(await natsServersOf(volume)).includes(servers[0]!));
    if (what === 'nats') await until(() => ready(program)); // restarted by the registry, under load
    stop.abort();
    await running;
    if (what !== 'nats') {
      await writeFile(join(volume, 'blobs/upload-left-by-a-crash'), 'half');
      program = await startProgram(volume, OFF);
    }
    await until(() => ready(program));
    expect(await natsServersOf(volume)).toHaveLength(1);
    await whole(program, load);
  }
});

async function ready(program: Program): Promise<boolean> {
  return (await fetch(`${program.url}/readyz?for=writes`)).status === 200;
}

async function whole(program: Program, { acknowledged }: Load): Promise<void> {
  const { volume } = program;
  const { volume: problems, frozen, gaps } = await ok(program, 'GET', '/readyz');
  expect({ problems, frozen, gaps }).toEqual({ problems: [], frozen: [], gaps: [] });
  const { code, stderr } = await cli(program, 'replay', '--verify', '--against', program.url);
  expect([code, stderr], 'the read model equals a fold of the log by the rules of the audit').toEqual([0, '']);
  for (const model of MODELS) {
    const events = await wholeHistory(program, model);
    const found = new Map(events.map((event) => [event.request_id, event]));
    expect(found.size).toBe(events.length); // no duplicates
    for (const { type, request_id, version } of acknowledged.filter((one) => one.model === model)) {
      expect(found.get(request_id), request_id).toMatchObject({ type, data: { version } });
    }
    await wholeVersions(program, model);
  }
  // The file of an aborted upload stays until the server notices that the connection is closed.
  await until(async () => !(await readdir(join(volume, 'blobs'))).some((name) => name.startsWith('upload-')));
}

/** Every listed version is on the volume with all its bytes, and nothing else is. */
async function wholeVersions(program: Program, model: string): Promise<void> {
  const folder = model === 'default' ? program.volume : join(program.volume, 'models', model);
  const shown = async () => (await readdir(join(folder, 'versions'))).filter((name) => !name.startsWith('.'));
  // Requested again each time: a command whose caller disconnected may still be running.
  let versions: { version: string; manifest: { artifacts: { path: string; digest: string }[] } }[] = [];
  await until(async () => {
    ({ versions } = await ok(program, 'GET', `/api/models/${model}/versions?page_size=1000`));
    return (
      versions
        .map(({ version }) => version)
        .toSorted()
        .join() === (await shown()).toSorted().join()
    );
  });
  for (const { version, manifest } of versions) {
    for (const { path, digest } of manifest.artifacts) {
      expect(sha256(await readFile(join(folder, 'versions', version, path))), `${version}/${path}`).toBe(digest);
    }
  }
  const shows = (link: string) => readlink(join(folder, link)).catch(() => null);
  await until(async () => {
    const response = await program.ask('GET', `/api/models/${model}/versions/active`);
    const { version } = (await response.json()) as { version?: string };
    return (await shows('active/production')) === (version ? `../versions/${version}` : null);
  });
  await until(async () => {
    const latest = await ok(program, 'GET', `/api/models/${model}/versions/latest`);
    return (await shows('latest')) === `versions/${latest.version}`;
  });
}

it('ends cleanly on SIGTERM under load, and leaves no nats-server behind', async () => {
  const volume = await volumeFolder();
  const load = new Load();
  const program = await startProgram(volume, OFF);
  const stop = new AbortController();
  const running = load.run(program, stop.signal);
  await until(() => load.acknowledged.length > 10);
  const ended = once(program.process, 'exit');
  program.process.kill('SIGTERM');
  expect(await ended).toEqual([0, null]);
  stop.abort();
  await running;
  expect(await natsServersOf(volume)).toEqual([]);
  const again = await startProgram(volume, OFF);
  await whole(again, load);
});

it('refuses a second server on a volume, and the first continues', async () => {
  const volume = await volumeFolder();
  const program = await startProgram(volume, OFF);
  const [server] = await natsServersOf(volume);
  const second = await cliWith({ REGISTRY_VOLUME: volume, PORT: '0' }, 'serve');
  expect(second.code).toBe(1);
  const { pid } = program.process;
  expect(second.stderr).toContain(
    `Another Signalbox is running on ${volume} (process ${pid}). Stop it (kill ${pid}), or`,
  );
  expect(await natsServersOf(volume)).toEqual([server]);
  await publish(program, '1.0.0');
});

it('ends with a message if the port is in use, and leaves no nats-server behind', async () => {
  const program = await startProgram(await volumeFolder(), OFF);
  const volume = await volumeFolder();
  const second = await cliWith({ REGISTRY_VOLUME: volume, PORT: new URL(program.url).port, ...OFF }, 'serve');
  expect([second.code, second.stderr]).toEqual([1, expect.stringContaining('EADDRINUSE')]);
  expect(await natsServersOf(volume)).toEqual([]);
});
