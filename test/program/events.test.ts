import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createParser, type EventSourceMessage } from 'eventsource-parser';
import { describe, expect, it, onTestFinished } from 'vitest';
import { createSnapshotStream } from '../../src/http/api/snapshot-stream.ts';
import type { Program } from '../support/program.ts';
import { newReadModel } from '../support/read-model.ts';
import { emptyProgram, ok, problemOf, publish, shared, until } from './support.ts';

const EVENTS = '/api/models/default/events';

const started = shared(async (ends) => {
  const program = await emptyProgram(ends);
  await publish(program, '1.0.0', { 'a.txt': 'a' });
  await publish(program, '1.1.0', { 'a.txt': 'b' });
  return program;
});

interface Followed {
  response: Response;
  events: EventSourceMessage[];
  /** Returns the next event of a kind. */
  next(kind: string): Promise<{ id: string; data: Record<string, unknown> }>;
  ended: Promise<void>;
}

async function follow(url: string, headers: Record<string, string> = {}): Promise<Followed> {
  const stop = new AbortController();
  onTestFinished(() => stop.abort());
  const response = await fetch(url, { headers, signal: stop.signal });
  const events: EventSourceMessage[] = [];
  const parser = createParser({ onEvent: (event) => events.push(event) });
  const ended = (async () => {
    const decoder = new TextDecoder();
    for await (const chunk of response.body!) parser.feed(decoder.decode(chunk, { stream: true }));
  })();
  ended.catch(() => {});
  let passed = 0;
  const next = async (kind: string) => {
    await until(() => events.slice(passed).some(({ event }) => event === kind));
    passed = events.findIndex(({ event }, index) => index >= passed && event === kind) + 1;
    const { id, data } = events[passed - 1]!;
    return { id: id!, data: JSON.parse(data) };
  };
  return { response, events, next, ended };
}

async function followed(program: Program, headers: Record<string, string> = {}, path = EVENTS): Promise<Followed> {
  return follow(program.url + path, { Authorization: `Bearer ${await program.token('user')}`, ...headers });
}

const activate = (program: Program, version: string, environment: string) =>
  ok(program, 'POST', `/api/models/default/versions/${version}/activate`, { environment });

describe('the event stream', () => {
  it('sends a snapshot, then each move with the whole map', async () => {
    const stream = await followed(started());
    expect(stream.response.headers.get('content-type')).toBe('text/event-stream');
    expect(stream.response.headers.get('cache-control')).toContain('no-cache');
    const { data } = await stream.next('snapshot');
    expect(data).toMatchObject({ model: 'default', generation: 0, epoch: expect.stringMatching(/^[0-9a-f]{8}$/) });
    const { revision } = await activate(started(), '1.0.0', 'staging');
    const activation = await stream.next('activation');
    expect(activation.data).toMatchObject({
      revision,
      active: {
        staging: { version: '1.0.0', revision, manifest_digest: expect.stringMatching(/^sha256:/) },
        production: null,
      },
    });
    await ok(started(), 'POST', '/api/models/default/deactivate', { environment: 'staging', reason: 'no' });
    expect((await stream.next('activation')).data).toMatchObject({ active: { staging: null } });
  });

  it('is also available under /api/registry', async () => {
    const stream = await followed(started(), {}, '/api/registry/events');
    expect((await stream.next('snapshot')).data).toMatchObject({ model: 'default' });
  });

  it('sends nothing about other models, and waits for a model without events', async () => {
    const stream = await followed(started(), {}, '/api/models/newcomer/events');
    const { data } = await stream.next('snapshot');
    expect(data.active).toEqual({ production: null, staging: null, dev: null });
    await publish(started(), '0.1.0', { 'a.txt': 'n' }, 'newcomer');
    await activate(started(), '1.1.0', 'dev');
    await ok(started(), 'POST', '/api/models/newcomer/versions/0.1.0/activate', { environment: 'dev' });
    expect((await stream.next('activation')).data).toMatchObject({ active: { dev: { version: '0.1.0' } } });
    expect(stream.events.filter(({ event }) => event === 'activation')).toHaveLength(1);
  });

  it('continues from the position of a follower without a reset', async () => {
    const first = await followed(started());
    const { id } = await first.next('snapshot');
    await activate(started(), '1.0.0', 'dev');
    const { id: later } = await first.next('activation');
    for (const held of [id, later]) {
      const again = await followed(started(), { 'Last-Event-ID': held });
      expect((await again.next('snapshot')).data).toMatchObject({ active: { dev: { version: '1.0.0' } } });
      expect(again.events.some(({ event }) => event === 'reset')).toBe(false);
    }
    const query = await followed(started(), {}, `${EVENTS}?last_event_id=${id}`);
    await query.next('snapshot');
    expect(query.events[0]!.event).toBe('snapshot');
  });

  it('sends a reset to followers with a future, foreign or invalid position', async () => {
    const { id } = await (await followed(started())).next('snapshot');
    const [generation, epoch, revision, hash] = id.split('-');
    const strangers = [
      `${generation}-${epoch}-${Number(revision) + 1000}-${hash}`,
      `${generation}-${epoch}-${revision}-${'0'.repeat(16)}`,
      `${generation}-${epoch}-1-${'0'.repeat(16)}`,
      `${generation}-00000000-${revision}-${hash}`,
      `7-${epoch}-${revision}-${hash}`,
      'rubbish',
    ];
    for (const held of strangers) {
      const stream = await followed(started(), { 'Last-Event-ID': held });
      await stream.next('reset');
      await stream.next('snapshot');
    }
  });

  it('answers with only the snapshot as JSON, with an ETag', async () => {
    const program = started();
    const headers = { Accept: 'application/json' };
    const response = await program.ask('GET', EVENTS, undefined, headers);
    const body = (await response.json()) as { id: string };
    expect(body).toMatchObject({ model: 'default', id: expect.any(String), active: expect.any(Object) });
    expect(body).not.toHaveProperty('reset');
    const etag = response.headers.get('etag')!;
    const same = await program.ask('GET', EVENTS, undefined, { ...headers, 'If-None-Match': etag });
    expect(same.status).toBe(304);
    const stranger = { ...headers, 'If-None-Match': etag, 'Last-Event-ID': '0-00000000-9-0000000000000000' };
    expect(await (await program.ask('GET', EVENTS, undefined, stranger)).json()).toMatchObject({ reset: true });
    await ok(program, 'POST', '/api/models/default/rollback', { environment: 'dev', reason: 'etag' });
    expect((await program.ask('GET', EVENTS, undefined, { ...headers, 'If-None-Match': etag })).status).toBe(200);
  });

  it('requires a token and a valid model name', async () => {
    await problemOf(await fetch(started().url + EVENTS), 401, 'unauthenticated');
    await problemOf(await started().ask('GET', '/api/models/NO/events'), 400, 'invalid-request');
  });

  it('ends every stream when the server stops', async () => {
    const program = await emptyProgram(onTestFinished);
    const streams = await Promise.all(Array.from({ length: 20 }, () => followed(program)));
    for (const stream of streams) await stream.next('snapshot');
    await Promise.all([program.stop(), ...streams.map(({ ended }) => ended)]);
  });
});

/** A server that streams snapshots to every caller, without the rest of the program. */
async function bareStream(heartbeatMs: number) {
  const readModel = newReadModel();
  const sources = { readModel, environments: ['production'], stale: () => true };
  const snapshots = createSnapshotStream(sources, heartbeatMs);
  const server = createServer((_, outgoing) => snapshots.join('default', outgoing, false)).listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    snapshots.close();
    server.closeAllConnections();
    server.close();
  });
  return { snapshots, readModel, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
}

describe('a heartbeat', () => {
  it('has the whole state, and whether it is stale', async () => {
    const { url } = await bareStream(20);
    const stream = await follow(url);
    expect((await stream.next('heartbeat')).data).toEqual({
      revision: 0,
      model: 'default',
      generation: 0,
      epoch: null,
      active: { production: null },
      stale: true,
    });
  });

  it('that cannot be read ends the streams of its model', async () => {
    const { url, readModel } = await bareStream(20);
    const stream = await follow(url);
    await stream.next('heartbeat');
    readModel.close();
    await stream.ended;
  });

  it('disconnects a follower that does not read', async () => {
    const { snapshots, url } = await bareStream(60_000);
    const { connect } = await import('node:net');
    const socket = connect(Number(new URL(url).port), '127.0.0.1').pause();
    onTestFinished(() => void socket.destroy());
    socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    const closed = once(socket, 'close');
    socket.on('error', () => {});
    const sending = setInterval(() => {
      for (let i = 0; i < 2_000; i++) snapshots.send('default');
    }, 1);
    onTestFinished(() => clearInterval(sending));
    await once(socket, 'readable');
    await until(() => {
      for (let i = 0; i < 5_000; i++) snapshots.send('default');
      return socket.readableLength > 0;
    });
    socket.resume();
    await closed;
  });
});
