import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { onTestFinished } from 'vitest';
import { Manifest } from '../../src/domain/manifest.ts';
import { NO_HEAD } from '../../src/domain/model.ts';
import { append } from '../../src/log/append.ts';
import { encodeEvent } from '../../src/log/codec.ts';
import type { Nats } from '../../src/log/connection.ts';
import { type LogPosition, START } from '../../src/log/identity.ts';
import { hashOf, type LogMessage } from '../../src/log/read.ts';
import { ensureStream, STREAM } from '../../src/log/stream.ts';
import type { Tail, TailState } from '../../src/log/supervise.ts';
import { type Follower, startTail } from '../../src/log/tail.ts';
import { connected, startCluster, startNats, type TestServer } from '../support/nats.ts';

/** What the log stores is opaque to all but the codec: these tests tell bodies apart by their text. */
export function body(text: string = randomUUID()): Buffer {
  return Buffer.from(text);
}

const digest = `sha256:${'0'.repeat(64)}` as const;

/** A model's first event. */
export function publishedEvent(model: string, version: string): Buffer {
  const manifest = Manifest.parse({ artifacts: [{ path: 'model.joblib', digest, size: 1 }] });
  const data = { version, manifest, manifest_digest: digest, notes: '', active: {} };
  return encodeEvent({ ...head(model), type: 'version.published', data }, NO_HEAD);
}

/** An event that decodes, about a version that must have been published before. */
export function notesEvent(model: string): Buffer {
  const data = { version: '1.0.0', notes: 'a note', active: {} };
  return encodeEvent({ ...head(model), type: 'notes.changed', data }, NO_HEAD);
}

function head(model: string) {
  return { model, id: randomUUID(), time: '2026-03-03T14:05:00Z', actor: 'ana', request_id: 'r-1' };
}

export interface Log {
  server: TestServer;
  nats: Nats;
}

/** One server with an empty log. */
export async function startLog(binary: string): Promise<Log> {
  const server = await startNats(binary);
  const nats = await connected(server);
  await ensureStream(nats);
  return { server, nats };
}

export interface ClusterLog {
  servers: TestServer[];
  nats: Nats;
}

/** Three servers with an empty log. */
export async function startClusterLog(binary: string): Promise<ClusterLog> {
  const servers = await startCluster(binary);
  const nats = await connected(...servers);
  await ensureStream(nats);
  return { servers, nats };
}

/** Appends events to a model, one after the other, and returns their revisions. */
export async function appendAll(nats: Nats, model: string, count: number): Promise<number[]> {
  const revisions: number[] = [];
  let expected = await lastRevision(nats, model);
  for (let i = 0; i < count; i++) {
    const { outcome, revision } = await append(nats, model, expected, body());
    if (outcome === 'conflict') throw new Error(`somebody else wrote to ${model}`);
    revisions.push(revision);
    expected = revision;
  }
  return revisions;
}

export async function lastRevision({ jsm }: Nats, model: string): Promise<number> {
  const last = await jsm.streams.getMessage(STREAM, { last_by_subj: `registry.models.${model}` });
  return last?.seq ?? 0;
}

/** Every body of the log, in its order. */
export async function stored({ jsm }: Nats): Promise<string[]> {
  const { state } = await jsm.streams.info(STREAM);
  const bodies: string[] = [];
  for (let seq = Math.max(1, state.first_seq); seq <= state.last_seq; seq++) {
    const message = await jsm.streams.getMessage(STREAM, { seq });
    if (message) bodies.push(Buffer.from(message.data).toString());
  }
  return bodies;
}

/** A follower that writes down what it is told. */
export interface Recorder extends Follower {
  revisions: number[];
  bodies: string[];
  gaps: { first: number; last: number }[];
  restarts: number[];
  states: TailState[];
  whys: unknown[];
}

export function recorder(generation = 0): Recorder {
  let position: LogPosition = { ...START, generation };
  const record: Recorder = {
    revisions: [],
    bodies: [],
    gaps: [],
    restarts: [],
    states: [],
    whys: [],
    position: () => position,
    message({ revision, body }: LogMessage) {
      record.revisions.push(revision);
      record.bodies.push(Buffer.from(body).toString());
      const hash = hashOf(body);
      position = { ...position, epoch: position.epoch ?? (revision === 1 ? hash : null), revision, hash };
    },
    gap: (first, last) => record.gaps.push({ first, last }),
    restart(next) {
      record.restarts.push(next);
      record.revisions.length = 0;
      record.bodies.length = 0;
      position = { ...START, generation: next };
    },
    state(next, why) {
      if (record.states.at(-1) !== next) record.states.push(next);
      if (why !== undefined) record.whys.push(why);
    },
  };
  return record;
}

/** A tail that ends with the test. */
export function tailing(nats: Nats, follower: Follower): Tail {
  const tail = startTail(nats, follower);
  onTestFinished(() => tail.close());
  return tail;
}

/** Waits until something holds; the test's own time-out is the bound. */
export async function until(holds: () => unknown): Promise<void> {
  while (!(await holds())) await sleep(25);
}

/** Asks again until it is answered, as a cluster without a leader does not. */
export async function insist<T>(ask: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await ask();
    } catch {
      await sleep(200);
    }
  }
}

/** Waits until the connection is up again after its server was away: what is asked before that is lost. */
export async function back({ nc }: Nats): Promise<void> {
  await insist(() => nc.flush());
}

/** Cuts the connection and waits until it is there again. */
export async function reconnect({ nc }: Nats): Promise<void> {
  const statuses = nc.status();
  const reconnected = (async () => {
    for await (const { type } of statuses) if (type === 'reconnect') return;
  })();
  await nc.reconnect();
  await reconnected;
}

/** 1 … n */
export function upTo(n: number): number[] {
  return Array.from({ length: n }, (_, i) => i + 1);
}
