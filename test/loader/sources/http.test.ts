import { describe, expect, it, onTestFinished, test } from 'vitest';
import { createClient } from '../../../src/client/client.ts';
import type { FollowedPosition } from '../../../src/loader/position.ts';
import { httpSource } from '../../../src/loader/sources/http.ts';
import type { Sighting } from '../../../src/loader/sources/source.ts';
import { emptyProgram, ok, publish, shared, until } from '../../program/support.ts';
import { digestOf } from '../../support/loaders.ts';
import type { Program } from '../../support/program.ts';
import { type HttpProxy, isPoll, isStream, startProxy, type Tampering, to } from '../proxy.ts';
import { silent } from '../support.ts';

/** The secret of both registries, so that one can replace the other. */
const SECRET = { REGISTRY_JWT_SECRET: 'a secret of thirty-two characters' };
const BAD = { instead: { status: 502, body: '<html>Bad gateway</html>' } };

const started = shared(async (ends) => {
  const program = await emptyProgram(ends, SECRET);
  await publish(program, '1.0.0', { 'a.txt': 'one' });
  await publish(program, '1.1.0', { 'a.txt': 'two' });
  return program;
});

const replaced = shared(async (ends) => {
  const program = await emptyProgram(ends, SECRET);
  await publish(program, '9.0.0', { 'a.txt': 'nine' });
  await move(program, '9.0.0');
  return program;
});

const environments = new Map<string, string>();

/** Activates the version that is not active. */
async function move(program: Program, version?: string): Promise<{ version: string; revision: number }> {
  const next = version ?? (environments.get(program.url) === '1.0.0' ? '1.1.0' : '1.0.0');
  environments.set(program.url, next);
  const path = `/api/models/default/versions/${next}/activate`;
  const { revision } = await ok(program, 'POST', path, { environment: 'production' });
  return { version: next, revision };
}

const QUICK = {
  idleMs: 60_000,
  silentMs: 3600_000,
  pollEveryMs: 100,
  pollTimeoutMs: 5_000,
  backoffMs: [50, 200] as [number, number],
};

interface Followed {
  proxy: HttpProxy;
  sightings: Sighting[];
  last(): Sighting | undefined;
  /** Waits for a sighting of a version at a revision. */
  sees(move: { version: string; revision: number }): Promise<void>;
  position(): FollowedPosition;
  warnings: string[];
  stop(): Promise<void>;
}

async function follow(
  options: {
    held?: FollowedPosition | null;
    environment?: string;
    proxy?: HttpProxy;
    timings?: Partial<typeof QUICK>;
    token?: string;
  } = {},
): Promise<Followed> {
  const { held = null, environment = 'production', timings = {} } = options;
  const proxy = options.proxy ?? (await startProxy(started().url));
  const token = async () => options.token ?? started().token();
  const warnings: string[] = [];
  const log = { ...silent, warn: (_: object, message: string) => void warnings.push(message) };
  const client = createClient({ dsn: proxy.url, token });
  const path = '/api/models/default/events';
  const source = httpSource({ client, path, model: 'default', environment, log }, { ...QUICK, ...timings });
  const stop = new AbortController();
  const sightings: Sighting[] = [];
  const ended = (async () => {
    for await (const sighting of source.follow(held, stop.signal)) sightings.push(sighting);
  })();
  const end = () => {
    stop.abort();
    return ended;
  };
  onTestFinished(end);
  const last = () => sightings.at(-1);
  return {
    proxy,
    sightings,
    last,
    warnings,
    async sees({ version, revision }) {
      await until(() => {
        const seen = last();
        if (seen?.state !== 'following') return false;
        return seen.target?.version === version && seen.target.revision === revision;
      });
    },
    position() {
      const seen = last();
      if (seen?.state !== 'following') throw new Error(`it is ${seen?.state}`);
      return seen.position;
    },
    stop: end,
  };
}

const streams = ({ requests }: HttpProxy) => requests.filter(isStream);
const polls = ({ requests }: HttpProxy) => requests.filter(isPoll);

describe('the event stream', () => {
  it('reports the active version and every move', async () => {
    const first = await move(started());
    const { sees, last, position, proxy, warnings } = await follow();
    await sees(first);
    expect(last()).toEqual({
      state: 'following',
      stale: false,
      position: {
        generation: 0,
        epoch: expect.stringMatching(/^[0-9a-f]{8}$/),
        revision: first.revision,
        id: expect.stringMatching(/^0-[0-9a-f]{8}-\d+-[0-9a-f]{16}$/),
      },
      target: { ...first, manifest_digest: expect.stringMatching(/^sha256:/) },
      request_id: expect.stringMatching(/^[0-9a-f-]{36}$/),
    });
    await sees(await move(started()));
    await ok(started(), 'POST', '/api/models/default/deactivate', { environment: 'production', reason: 'no' });
    await until(() => last()?.state === 'following' && (last() as { target: unknown }).target === null);
    environments.delete(started().url);
    expect(position().revision).toBeGreaterThan(first.revision);
    expect([streams(proxy).length, polls(proxy).length, warnings]).toEqual([1, 0, []]);
    await sees(await move(started()));
  });

  it('reports no other environment, and an unknown one', async () => {
    const staging = await follow({ environment: 'staging' });
    await until(() => staging.last() !== undefined);
    expect(staging.last()).toMatchObject({ state: 'following', target: null });
    const moon = await follow({ environment: 'moon' });
    await until(() => moon.last()?.state === 'unknown-environment');
  });

  it('resumes where it broke', async () => {
    const { proxy, sees, position } = await follow();
    proxy.tamper = to(isPoll, BAD);
    await sees(await move(started()));
    const { id } = position();
    proxy.cut();
    await sees(await move(started()));
    const again = streams(proxy);
    expect(again.length).toBeGreaterThan(1);
    expect(again[0]!.headers['last-event-id']).toBeUndefined();
    expect(again[1]!.headers['last-event-id']).toBe(id);
  });

  it('reconnects after invalid responses, and polling works in the meantime', async () => {
    const { proxy, sees, warnings } = await follow({ timings: { pollEveryMs: 10 } });
    await sees(await move(started()));
    proxy.tamper = to(isStream, BAD);
    proxy.cut();
    await sees(await move(started()));
    await sees(await move(started()));
    expect(polls(proxy).some(({ status }) => status === 200)).toBe(true);
    await until(() => polls(proxy).some(({ status }) => status === 304));
    proxy.tamper = () => null;
    await until(() => streams(proxy).at(-1)?.status === 200);
    await sees(await move(started()));
    // With a working stream, polling stops.
    await until(async () => {
      const before = polls(proxy).length;
      for (let i = 0; i < 10; i++) await sees(await move(started()));
      return polls(proxy).length === before;
    });
    expect(warnings).toEqual(['the event stream failed; reconnecting']);
  });

  const event = (data: string, name = 'snapshot') => `id: x\nevent: ${name}\ndata: ${data}\n\n`;
  const stream = (body: string, type = 'text/event-stream'): Tampering => ({ instead: { status: 200, body, type } });
  const state = '"generation":0,"epoch":"00000000","active":{}';
  test.each<[string, Tampering]>([
    ['a response that is not an event stream', stream('<html>Log in</html>', 'text/html')],
    ['rubbish', stream(Buffer.from('4f3ac0ff00fe', 'hex').toString('latin1'))],
    ['data that is not JSON', stream(event('<html>'))],
    ['data of another form', stream(event('{"revision":-1}'))],
    ['null', stream(event('null'))],
    ['an event of another model', stream(event(`{"revision":9,"model":"other",${state}}`))],
    ['an unknown event', stream(event('{}', 'news'))],
    ['an event without an end', stream(`data: ${'x'.repeat(2_000_000)}`)],
    [
      'an invalid target',
      stream(
        event(
          `{"revision":9,"model":"default","generation":0,"epoch":null,"active":{"production":{"version":"one","manifest_digest":"sha256:${'0'.repeat(64)}","revision":0}}}`,
        ),
      ),
    ],
    ['an empty stream', stream('')],
  ])('is reopened after %s, which is ignored', async (_, tampering) => {
    const proxy = await startProxy(started().url);
    proxy.tamper = (seen) => (isStream(seen) ? tampering : isPoll(seen) ? BAD : null);
    const { sightings, sees } = await follow({ proxy });
    await until(() => streams(proxy).length > 2);
    expect(sightings).toEqual([]);
    proxy.tamper = to(isStream, tampering);
    await sees(await move(started()));
    proxy.tamper = () => null;
    const before = streams(proxy).length;
    await until(() => streams(proxy).length > before);
    await sees(await move(started()));
  });

  it('that stalls is reopened', async () => {
    const { proxy, sees } = await follow({ timings: { idleMs: 500 } });
    await sees(await move(started()));
    proxy.silence();
    await sees(await move(started()));
    await until(() => streams(proxy).length > 1);
  });

  it('that is refused is logged once, and retried', async () => {
    const { proxy, warnings, sightings } = await follow({ token: 'wrong' });
    await until(() => streams(proxy).length > 3);
    expect(proxy.requests.every(({ status }) => status === null || status === 401)).toBe(true);
    expect([warnings, sightings]).toEqual([['the event stream failed; reconnecting'], []]);
  });

  it('ends when its signal aborts, in every state', async () => {
    const following = await follow();
    await following.sees(await move(started()));
    await following.stop();
    const waiting = await follow({ proxy: await startProxy(null) });
    await until(() => waiting.proxy.requests.length > 2);
    await waiting.stop();
    const requests = () => following.proxy.requests.length + waiting.proxy.requests.length;
    await until(async () => {
      const before = requests(); // except for those that had begun
      for (let i = 0; i < 3; i++) await move(started());
      return requests() === before;
    });
  });
});

describe('silence', () => {
  it('is reported once, and ends with the first message', async () => {
    const { proxy, sightings, last, sees } = await follow({
      timings: { silentMs: 600, idleMs: 300, pollTimeoutMs: 300 },
    });
    const now = await move(started());
    await sees(now);
    proxy.tamper = to(isStream, BAD);
    proxy.cut();
    await until(() => polls(proxy).at(-1)?.status === 304);
    proxy.tamper = () => ({ after: new Promise(() => {}) });
    await until(() => last()?.state === 'silent');
    const before = proxy.requests.length;
    await until(() => proxy.requests.length > before + 3);
    expect(sightings.filter(({ state }, i) => state === 'silent' && sightings[i - 1]?.state === 'silent')).toEqual([]);
    proxy.tamper = to(isStream, BAD);
    await sees(now); // by polling, which is answered with 304
  });

  it('is reported if nothing was ever received', async () => {
    const { last } = await follow({ proxy: await startProxy(null), timings: { silentMs: 200 } });
    await until(() => last()?.state === 'silent');
  });
});

describe('a diverged log', () => {
  it('is not followed, and is left when the first log is back', async () => {
    const { proxy, sees, last, sightings } = await follow();
    await sees(await move(started()));
    proxy.target = replaced().url;
    proxy.cut();
    await until(() => last()?.state === 'diverged');
    await until(() => polls(proxy).length > 0 && streams(proxy).at(-1)?.status === 200);
    expect(JSON.stringify(sightings)).not.toContain('9.0.0');
    proxy.target = started().url;
    proxy.cut();
    await sees(await move(started()));
  });

  it('is detected by polling, too', async () => {
    const { proxy, sees, last, sightings } = await follow();
    await sees(await move(started()));
    proxy.tamper = to(isStream, BAD);
    proxy.target = replaced().url;
    proxy.cut();
    await until(() => last()?.state === 'diverged');
    expect(JSON.stringify(sightings)).not.toContain('9.0.0');
  });

  it('is detected at the start from the stored position', async () => {
    const before = await follow();
    await before.sees(await move(started()));
    const proxy = await startProxy(replaced().url);
    const { last, sightings } = await follow({ proxy, held: before.position() });
    await until(() => last()?.state === 'diverged');
    expect(streams(proxy)[0]!.headers['last-event-id']).toBe(before.position().id);
    expect(sightings.every(({ state }) => state === 'diverged')).toBe(true);
  });
});

describe('a message', () => {
  const target = (version: string, revision: number) => ({ version, manifest_digest: digestOf(version), revision });
  const message = (revision: number, version: string, more: object = {}) => ({
    revision,
    model: 'default',
    generation: 3,
    epoch: 'aaaaaaaa',
    active: { production: target(version, revision) },
    ...more,
  });

  /** Sends each item as one stream; returns the sightings, null for none. */
  async function seenOf(...all: { event: string; data: object }[][]): Promise<(string | null)[]> {
    const proxy = await startProxy(null);
    const held = { generation: 3, epoch: 'aaaaaaaa', revision: 10, id: 'held' };
    let next: { event: string; data: object }[] | null = null;
    proxy.tamper = (request) => {
      if (!isStream(request) || !next) return BAD;
      const body = next.map(({ event, data }) => `id: x\nevent: ${event}\ndata: ${JSON.stringify(data)}\n\n`).join('');
      next = null;
      return { instead: { status: 200, body, type: 'text/event-stream' } };
    };
    const { sightings } = await follow({ proxy, held });
    const seen: (string | null)[] = [];
    for (const events of all) {
      const before = sightings.length;
      next = events;
      await until(() => next === null);
      const count = streams(proxy).length;
      await until(() => streams(proxy).length > count); // so the previous one was read to its end
      const now = sightings.slice(before).at(-1);
      seen.push(now === undefined ? null : now.state === 'following' ? (now.target?.version ?? 'none') : now.state);
    }
    return seen;
  }
  const snapshot = (data: object) => ({ event: 'snapshot', data });

  it('is skipped if it is old', async () => {
    const seen = await seenOf(
      [snapshot(message(11, '1.1.0'))],
      [snapshot(message(9, '0.9.0'))],
      [snapshot(message(11, '1.1.0'))],
      [{ event: 'heartbeat', data: message(12, '1.2.0') }],
      [{ event: 'activation', data: message(10, '1.0.0') }],
    );
    expect(seen).toEqual(['1.1.0', null, '1.1.0', '1.2.0', null]);
  });

  it('of a lower generation or another epoch is not accepted, whatever its revision', async () => {
    const seen = await seenOf(
      [snapshot(message(11, '1.1.0'))],
      [snapshot(message(99, '9.0.0', { generation: 2 }))],
      [snapshot(message(99, '9.0.0', { epoch: 'bbbbbbbb' }))],
      [snapshot(message(0, '9.0.0', { epoch: null, active: { production: null } }))],
      [snapshot(message(12, '1.2.0'))],
    );
    expect(seen).toEqual(['1.1.0', 'diverged', 'diverged', 'diverged', '1.2.0']);
  });

  it('of a higher generation is accepted, whatever its revision', async () => {
    const seen = await seenOf(
      [{ event: 'reset', data: message(2, '0.2.0', { generation: 4, epoch: 'bbbbbbbb' }) }],
      [snapshot(message(3, '0.3.0', { generation: 4, epoch: 'bbbbbbbb' }))],
      [snapshot(message(20, '2.0.0'))],
    );
    expect(seen).toEqual(['0.2.0', '0.3.0', 'diverged']);
  });

  it('after a reset is about the other log, to the end of that stream', async () => {
    const seen = await seenOf(
      [{ event: 'reset', data: message(11, '1.1.0') }, snapshot(message(11, '1.1.0')), snapshot(message(12, '1.2.0'))],
      [snapshot(message(12, '1.2.0'))],
    );
    expect(seen).toEqual(['diverged', '1.2.0']);
  });

  it('can be stale', async () => {
    const proxy = await startProxy(null);
    const { last } = await follow({ proxy });
    proxy.tamper = (request) => {
      if (!isStream(request)) return BAD;
      const body = `id: x\nevent: snapshot\ndata: ${JSON.stringify(message(11, '1.1.0', { stale: true }))}\n\n`;
      return { instead: { status: 200, body, type: 'text/event-stream' } };
    };
    await until(() => last() !== undefined);
    expect(last()).toMatchObject({ state: 'following', stale: true, target: { version: '1.1.0' } });
  });
});
