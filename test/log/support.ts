import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { onTestFinished } from 'vitest';
import { Manifest } from '../../src/domain/manifest.ts';
import { NO_HEAD } from '../../src/domain/model.ts';
import { append } from '../../src/log/append.ts';
import { encodeEvent } from '../../src/log/codec.ts';
import type { Nats } from '../../src/log/connection.ts';
import { type LogPosition, START } from '../../src/log/identity.ts';
import { type LogListener, tailLog } from '../../src/log/log-tail.ts';
import { hashOf, type LogMessage } from '../../src/log/read.ts';
import { ensureStream, STREAM } from '../../src/log/stream.ts';
import type { Tail, TailState } from '../../src/log/supervise.ts';
import { connected, startCluster, startNats, type TestServer } from '../support/nats.ts';

/** Only the codec reads the content of a body. Other tests use any text and tell bodies apart by it. */
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

/** A valid event about a version that was not published here. */
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
    if (outcome === 'conflict') throw new Error(`another writer appended to ${model}`);
    revisions.push(revision);
    expected = revision;
  }
  return revisions;
}

export async function lastRevision({ jsm }: Nats, model: string): Promise<number> {
  const last = await jsm.streams.getMessage(STREAM, { last_by_subj: `registry.models.${model}` });
  return last?.seq ?? 0;
}

/** Returns every body of the log, in order. */
export async function stored({ jsm }: Nats): Promise<string[]> {
  const { state } = await jsm.streams.info(STREAM);
  const bodies: string[] = [];
  for (let seq = Math.max(1, state.first_seq); seq <= state.last_seq; seq++) {
    const message = await jsm.streams.getMessage(STREAM, { seq });
    if (message) bodies.push(Buffer.from(message.data).toString());
  }
  return bodies;
}

/** A listener that records its calls. */
export interface Recorder extends LogListener {
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

/** Starts a tail that is closed when the test ends. */
export function tailing(nats: Nats, listener: LogListener): Tail {
  const tail = tailLog(nats, listener);
  onTestFinished(() => tail.close());
  return tail;
}

/** Waits until a condition is true; only the test's own time-out limits it. */
export async function until(condition: () => unknown): Promise<void> {
  while (!(await condition())) await sleep(25);
}

/** Retries a request until it succeeds, for example while a cluster has no leader. */
export async function insist<T>(request: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await request();
    } catch {
      await sleep(200);
    }
  }
}

/** Waits until the connection is up again after an outage of its server; earlier requests would be lost. */
export async function back({ nc }: Nats): Promise<void> {
  await insist(() => nc.flush());
}

/** Closes the connection and waits until it is up again. */
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
