import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeAll, expect, it } from 'vitest';
import { publishText } from '../loader/support.ts';
import { ok, until, volumeFolder, wholeHistory } from '../program/support.ts';
import { startNats, type TestServer } from '../support/nats.ts';
import { type Program, startProgram } from '../support/program.ts';
import { startTcpProxy, type TcpProxy } from '../support/proxy.ts';
import { pythonWith } from '../support/python.ts';
import { impatientService, nodeService, pythonService } from './services.ts';

const MOVES = 100;
const MOVES_A_RESTART = 16;
const VERSIONS = ['1.0.0', '1.1.0', '1.2.0', '2.0.0-rc.1', '2.0.0'];

/** An accepted command and its revision in the log. */
interface Accepted {
  request_id: string;
  revision: number;
}

const requirements = join(import.meta.dirname, '../../clients/python/requirements-dev.txt');
let python: string;
beforeAll(async () => {
  python = await pythonWith(requirements);
}, 15 * 60_000);

it('loaders end at the active version, never step back and fail no request, in any network trouble', {
  timeout: 240_000,
}, async () => {
  const seed = Number(process.env.CHAOS_SEED ?? Math.floor(Math.random() * 2 ** 32));
  console.log(`CHAOS_SEED=${seed}`);
  const random = generator(seed);
  const nats = await startNats(process.env.NATS_SERVER_BIN!);
  const program = await startProgram(await volumeFolder(), { NATS_URL: nats.url, REGISTRY_DISCOVERY: 'off' });
  for (const version of VERSIONS) {
    await publishText(program, version, version, { 'weights.bin': randomBytes(400_000) });
  }
  await ok(program, 'POST', `/api/models/default/versions/${VERSIONS[0]}/activate`, {});
  const toRegistry = await startTcpProxy(program.url);
  const toNats = await startTcpProxy(nats.url);
  const proxied = { ...program, url: `http://127.0.0.1:${toRegistry.port}` };
  const services = await Promise.all([
    nodeService('over HTTP', program, { cacheBytes: 1 }),
    impatientService('over HTTP through a proxy', proxied),
    nodeService('over NATS through a proxy', proxied, { endpoint: `nats://127.0.0.1:${toNats.port}` }),
    pythonService('in Python through a proxy', python, proxied),
  ]);

  const calm = new AbortController();
  const disturbing = [toRegistry, toNats].map((proxy) => disturb(proxy, random, calm.signal));
  const accepted = await moveAround(program, nats, random);
  calm.abort();
  await Promise.all(disturbing);

  const history = await wholeHistory(program);
  const moved = history.slice(VERSIONS.length + 1);
  expect(moved.map(({ request_id, revision }) => ({ request_id, revision }))).toEqual(accepted);
  const active = await ok(program, 'GET', '/api/models/default/versions/active');
  expect(active.activated.revision).toBe(accepted.at(-1)!.revision);
  for (const { name, observed } of services) {
    await until(() => observed.served.at(-1)?.revision === active.activated.revision, 90_000).catch((cause) => {
      throw new Error(`The loader ${name} stayed at ${JSON.stringify(observed.served.at(-1))}`, { cause });
    });
  }
  await Promise.all(services.map(({ stop }) => stop()));

  const versionAt = new Map(history.map(({ revision, data }) => [revision, data.version]));
  for (const { name, observed } of services) {
    const { served, answered, failures } = observed;
    console.log(`${name}: ${answered} requests, ${served.length} targets`);
    expect(failures, name).toEqual([]);
    expect(answered, name).toBeGreaterThan(1000);
    const revisions = served.map(({ revision }) => revision);
    expect(revisions, name).toEqual(revisions.toSorted((a, b) => a - b));
    const versions = served.map(({ version }) => version);
    expect(versions, name).toEqual(revisions.map((revision) => versionAt.get(revision)));
  }
  // This one has no proxy: it must load everything.
  expect(services[0]!.observed.errors).toEqual([]);
});

/** Activates and rolls back until enough commands were accepted, while NATS is killed and restarted. */
async function moveAround(program: Program, nats: TestServer, random: () => number): Promise<Accepted[]> {
  const headers = { Authorization: `Bearer ${await program.token()}`, 'Content-Type': 'application/json' };
  const accepted: Accepted[] = [];
  let restarting = Promise.resolve();
  for (let i = 0; accepted.length < MOVES; i++) {
    const revision = await move(`move-${i}`);
    if (revision === null) continue;
    accepted.push({ request_id: `move-${i}`, revision });
    if (accepted.length % MOVES_A_RESTART === 0) restarting = restarting.then(() => restart(nats, random() * 1500));
    await sleep(random() * 300);
  }
  await restarting;
  return accepted;

  /** Retries with one idempotency key until the outcome is known; null if it was refused. */
  async function move(key: string): Promise<number | null> {
    const { path, json } = randomMove(random);
    const all = { ...headers, 'X-Request-Id': key, 'Idempotency-Key': key };
    for (;;) {
      const response = await fetch(program.url + path, { method: 'POST', headers: all, body: JSON.stringify(json) });
      const body = (await response.json()) as { revision: number; code: string };
      if (response.status === 200) return body.revision;
      if (response.status === 409) return null;
      expect(response.status, JSON.stringify(body)).toBe(503);
      await sleep(random() * 200);
    }
  }
}

function randomMove(random: () => number): { path: string; json: object } {
  const version = VERSIONS[Math.floor(random() * VERSIONS.length)]!;
  const path = '/api/models/default';
  const dice = random();
  if (dice < 0.7) return { path: `${path}/versions/${version}/activate`, json: {} };
  return { path: `${path}/rollback`, json: { reason: 'chaos', ...(dice < 0.8 && { to_version: version }) } };
}

async function restart(nats: TestServer, downMs: number): Promise<void> {
  await nats.kill();
  await sleep(downMs);
  await nats.start();
}

/** Causes one trouble after another, and heals each, except for connections that a router has dropped. */
async function disturb(proxy: TcpProxy, random: () => number, calm: AbortSignal): Promise<void> {
  const troubles = [
    proxy.cut,
    () => (random() < 0.3 ? proxy.forget() : proxy.cut()), // NATS notices after half a minute
    proxy.hold,
    () => proxy.delay(random() * 300),
    () => {
      proxy.refuse();
      proxy.cut();
    },
  ];
  while (!calm.aborted) {
    await sleep(random() * 1500);
    troubles[Math.floor(random() * troubles.length)]!();
    await sleep(random() * 2000);
    proxy.heal();
  }
}

/** mulberry32 */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
