import { createHash } from 'node:crypto';
import { readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { connected, startNats, type TestServer } from '../support/nats.ts';
import { type Program, startProgram } from '../support/program.ts';
import { artifactsOf, type HistoryEvent, ok, send, until, volumeFolder, wholeHistory } from './support.ts';

/** Short, to keep the suite fast. */
const DURATION_MS = 10_000;
const CLIENTS = 32;
const MODELS = ['default', 'fraud', 'churn'];
const ENVIRONMENTS = ['production', 'staging', 'dev'];
const VERSIONS = ['1.0.0', '1.1.0', '1.2.0', '2.0.0-rc.1', '2.0.0'];

describe('32 clients at once', () => {
  it('leave a log with each accepted command once and no refused one, which matches the answers', async () => {
    const nats = await startNats(process.env.NATS_SERVER_BIN!);
    const programs = [await serverOn(nats)];
    await verify(nats, programs, await hammer(programs));
  }, 90_000);

  it('do so with two servers on one log, too', async () => {
    const nats = await startNats(process.env.NATS_SERVER_BIN!);
    const programs = await Promise.all([serverOn(nats), serverOn(nats)]);
    await verify(nats, programs, await hammer(programs));
  }, 90_000);
});

async function serverOn(nats: TestServer): Promise<Program> {
  return startProgram(await volumeFolder(), { NATS_URL: nats.url, REGISTRY_DISCOVERY: 'off' });
}

/** A command that a client sent. With an idempotency key it may be sent twice and counts once. */
interface Sent {
  request_ids: string[];
  accepted: boolean;
  /** The revision in the answer. */
  revision?: number;
}

async function hammer(programs: Program[]): Promise<Sent[]> {
  // Each volume has the bytes of every version, as if both servers shared a store.
  for (const version of VERSIONS) {
    for (const program of programs) {
      const [artifact] = artifactsOf({ 'model.bin': version });
      expect((await send(program, 'PUT', `/api/blobs/${artifact!.digest}`, version)).status).toBe(201);
    }
    for (const model of MODELS) {
      const body = { version, artifacts: artifactsOf({ 'model.bin': version }) };
      expect((await programs[0]!.ask('POST', `/api/models/${model}/versions`, body)).status).toBe(201);
    }
  }
  const sent: Sent[] = [];
  const tokens = await Promise.all(programs.map((program) => program.token()));
  const until = Date.now() + DURATION_MS;
  await Promise.all(Array.from({ length: CLIENTS }, (_, client) => clientOf(client)));
  return sent;

  async function clientOf(client: number): Promise<void> {
    for (let i = 0; Date.now() < until; i++) {
      const command = randomCommand(`${client}-${i}`);
      const key = Math.random() < 0.1 ? `key-${client}-${i}` : undefined;
      const times = key ? 2 : 1;
      const answers = await Promise.all(
        Array.from({ length: times }, (_, time) =>
          ask((client + time) % programs.length, command, key, `c${client}-${i}-${time}`),
        ),
      );
      const accepted = answers.find(({ status }) => status === 200);
      for (const { status, body } of answers) {
        expect([200, 404, 409], JSON.stringify(body)).toContain(status);
        // A retry gets the first outcome.
        if (key && accepted && status === 200) expect(body.revision).toBe(accepted.body.revision);
      }
      sent.push({
        request_ids: answers.map(({ request_id }) => request_id),
        accepted: accepted !== undefined,
        ...(accepted && command.moves && { revision: accepted.body.revision }),
      });
    }
  }

  async function ask(server: number, { method, path, json }: Command, key: string | undefined, request_id: string) {
    const response = await fetch(programs[server]!.url + path, {
      method,
      body: JSON.stringify(json),
      headers: {
        Authorization: `Bearer ${tokens[server]}`,
        'Content-Type': 'application/json',
        'X-Request-Id': request_id,
        ...(key && { 'Idempotency-Key': key }),
      },
    });
    return { request_id, status: response.status, body: JSON.parse(await response.text()) };
  }
}

interface Command {
  method: string;
  path: string;
  json: object;
  moves: boolean;
}

function randomCommand(unique: string): Command {
  const base = `/api/models/${any(MODELS)}`;
  const environment = any(ENVIRONMENTS);
  const dice = Math.random();
  if (dice < 0.15) {
    const json = { environment, reason: unique, ...(dice < 0.05 && { to_version: any(VERSIONS) }) };
    return { method: 'POST', path: `${base}/rollback`, json, moves: true };
  }
  if (dice < 0.2)
    return { method: 'POST', path: `${base}/deactivate`, json: { environment, reason: unique }, moves: true };
  if (dice < 0.35) {
    return { method: 'PATCH', path: `${base}/versions/${any(VERSIONS)}/notes`, json: { notes: unique }, moves: false };
  }
  const json = { environment, reason: unique, ...(dice < 0.5 && { expected_active: any([...VERSIONS, null]) }) };
  return { method: 'POST', path: `${base}/versions/${any(VERSIONS)}/activate`, json, moves: true };
}

function any<T>(of: readonly T[]): T {
  return of[Math.floor(Math.random() * of.length)]!;
}

async function verify(nats: TestServer, programs: Program[], sent: Sent[]): Promise<void> {
  const bodies = await readStream(nats);
  const last = bodies.length;
  for (const program of programs) {
    await until(async () => {
      const { headers } = await fetch(`${program.url}/healthz`);
      return headers.get('registry-revision')!.endsWith(`-${last}`);
    });
    expect(await ok(program, 'GET', '/readyz')).toMatchObject({ ready: true, frozen: [] });
  }
  const folds = refold(bodies);
  for (const program of programs) {
    const { models } = await ok(program, 'GET', '/api/models');
    expect(models).toHaveLength(MODELS.length);
    for (const model of MODELS) await compare(program, model, folds.get(model)!, models);
  }
  const revisions = new Map<string, number[]>();
  for (const { events } of folds.values()) {
    for (const { request_id, revision } of events) {
      revisions.set(request_id, [...(revisions.get(request_id) ?? []), revision]);
    }
  }
  const accepted = sent.filter((command) => command.accepted);
  expect(accepted.length).toBeGreaterThan(100);
  expect(sent.length).toBeGreaterThan(accepted.length);
  for (const { request_ids, accepted, revision } of sent) {
    const found = request_ids.flatMap((id) => revisions.get(id) ?? []);
    expect(found, request_ids.join()).toHaveLength(accepted ? 1 : 0);
    if (revision !== undefined) expect(found).toEqual([revision]);
  }
  // The log has only the first publishes and the accepted commands.
  expect(last).toBe(VERSIONS.length * MODELS.length + accepted.length);
}

async function readStream(nats: TestServer): Promise<{ subject: string; text: string }[]> {
  const { js, jsm } = await connected(nats);
  const { state } = await jsm.streams.info('REGISTRY');
  const consumer = await js.consumers.get('REGISTRY');
  const bodies: { subject: string; text: string }[] = [];
  for await (const message of await consumer.consume()) {
    bodies.push({ subject: message.subject, text: message.string() });
    expect(message.seq).toBe(bodies.length);
    if (message.seq === state.last_seq) break;
  }
  return bodies;
}

interface Fold {
  head: string;
  time: string;
  notes: Map<string, string>;
  stacks: Record<string, { revision: number; version: string | null }[]>;
  moved: Record<string, number>;
  events: HistoryEvent[];
}

/** The rules again, in their simplest form. */
function refold(bodies: { subject: string; text: string }[]): Map<string, Fold> {
  const folds = new Map<string, Fold>();
  bodies.forEach(({ subject, text }, index) => {
    const revision = index + 1;
    const { type, data, prevhash, subject: model, actor, requestid: request_id, time } = JSON.parse(text);
    expect(subject).toBe(`registry.models.${model}`);
    const fold: Fold = folds.get(model) ?? {
      head: '0'.repeat(64),
      time: '',
      notes: new Map(),
      stacks: {},
      moved: {},
      events: [],
    };
    folds.set(model, fold);
    expect(prevhash).toBe(fold.head);
    expect(time >= fold.time).toBe(true);
    fold.head = createHash('sha256').update(text).digest('hex');
    fold.time = time;
    const short = type.slice('signalbox.'.length, -'.v1'.length);
    fold.events.push({ revision, type: short, time, actor, request_id, data });
    const { environment, version, previous } = data;
    if (short === 'version.published' || short === 'notes.changed') fold.notes.set(version, data.notes);
    else {
      fold.stacks[environment] ??= [];
      const stack = fold.stacks[environment];
      expect(previous).toBe(stack.at(-1)?.version ?? null);
      if (short === 'version.rolled_back') {
        for (const reverted of data.reverts) expect(stack.pop()?.revision).toBe(reverted);
        expect(stack.at(-1)!.version).toBe(version);
      } else {
        if (short === 'version.activated') expect(fold.notes.has(version) && version !== previous).toBe(true);
        else expect([short, version, previous !== null]).toEqual(['version.deactivated', null, true]);
        stack.push({ revision, version });
      }
      fold.moved[environment] = revision;
    }
    for (const name of ENVIRONMENTS) {
      expect(data.active[name]?.version ?? null).toBe(fold.stacks[name]?.at(-1)?.version ?? null);
      if (name !== environment && data.active[name]) expect(data.active[name].revision).toBe(fold.moved[name]);
    }
  });
  return folds;
}

async function compare(program: Program, model: string, fold: Fold, models: { model: string; active: object }[]) {
  const active = Object.fromEntries(ENVIRONMENTS.map((name) => [name, fold.stacks[name]?.at(-1)?.version ?? null]));
  const listed = models.find((candidate) => candidate.model === model)!;
  expect(listed).toMatchObject({ active, revision: fold.events.at(-1)!.revision, versions: VERSIONS.length });
  const { versions } = await ok(program, 'GET', `/api/models/${model}/versions`);
  for (const { version, notes, active_in } of versions) {
    expect(notes).toBe(fold.notes.get(version));
    expect(active_in.sort()).toEqual(ENVIRONMENTS.filter((name) => active[name] === version).sort());
  }
  expect(await wholeHistory(program, model)).toEqual(fold.events);
  const folder = model === 'default' ? program.volume : join(program.volume, 'models', model);
  for (const [name, version] of Object.entries(active)) {
    const link = () => readlink(join(folder, 'active', name)).catch(() => null);
    await until(async () => (await link()) === (version && `../versions/${version}`));
  }
}
