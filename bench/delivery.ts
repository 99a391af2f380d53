import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createClient } from '../src/client/client.ts';
import type { Target } from '../src/domain/fleet.ts';
import type { LoaderLog } from '../src/loader/log.ts';
import { httpSource } from '../src/loader/sources/http.ts';
import { natsSource } from '../src/loader/sources/nats.ts';
import type { Source } from '../src/loader/sources/source.ts';
import { connectNats, type Nats } from '../src/log/connection.ts';
import { poster } from './load.ts';
import { median, publishSamples, startRegistry } from './processes.ts';
import type { Result } from './result.ts';

const TIMES = 400;
const WARM_UP = 50;
const silent: LoaderLog = { debug() {}, info() {}, warn() {}, error() {} };

/**
 * Measures the time from an activation over HTTP to the sighting of a loader's source, over NATS and SSE. It is compared with
 * a bare publish to an ordered consumer with a filter on a stream of the same server.
 */
export async function delivery(): Promise<Result[]> {
  const registry = await startRegistry();
  await publishSamples(registry);
  const { url, user, password } = JSON.parse(await readFile(join(registry.volume, '.nats/address.json'), 'utf8'));
  const nats = await connectNats({ servers: [url], user, pass: password }, 'bench');
  const follower = await connectNats({ servers: [url], user, pass: password }, 'bench follower');
  const http = poster(registry.url, registry.headers);
  const bare = await barePublishes(nats, follower);
  const following = { model: 'default', environment: 'production', log: silent };
  const client = createClient({ dsn: registry.url, token: async () => registry.headers.Authorization!.slice(7) });
  const sources = [
    { name: 'NATS', aim: 2, source: natsSource({ nats: follower, ...following }) },
    { name: 'SSE', aim: 4, source: httpSource({ client, path: '/api/models/default/events', ...following }) },
  ];
  const results: Result[] = [];
  let activations = 0;
  for (const { name, aim, source } of sources) {
    const stop = new AbortController();
    const targets = targetsOf(source, stop.signal);
    const times = { bare: [] as number[], seen: [] as number[], answered: [] as number[] };
    for (let i = -WARM_UP; i < TIMES; i++) {
      const version = activations++ % 2 === 0 ? '1.0.0' : '1.1.0';
      const published = await bare.publish();
      const started = performance.now();
      const [seen, answered] = await Promise.all([
        targets.next(version),
        http.post(`/api/models/default/versions/${version}/activate`, {}).then(() => performance.now()),
      ]);
      if (i < 0) continue;
      times.bare.push(published);
      times.seen.push(seen - started);
      times.answered.push(answered - started);
    }
    stop.abort();
    const ms = (values: number[]) => `${median(values).toFixed(2)} ms`;
    results.push({
      name: `activation sent → known over ${name} / bare publish → delivery, medians`,
      ratio: median(times.seen) / median(times.bare),
      aim: `≤ ${aim}`,
      detail: `${ms(times.seen)}, bare ${ms(times.bare)}, answered after ${ms(times.answered)}`,
    });
  }
  bare.stop();
  http.end();
  await follower.nc.close();
  await nats.nc.close();
  await registry.stop();
  return results;
}

/** Records when each target is seen. */
function targetsOf(source: Source, signal: AbortSignal) {
  let awaited = { version: '', resolve: (_at: number) => {} };
  void (async () => {
    for await (const sighting of source.follow(null, signal)) {
      const at = performance.now();
      const target: Target | null = sighting.state === 'following' ? sighting.target : null;
      if (target?.version === awaited.version) awaited.resolve(at);
    }
  })();
  return {
    next(version: string): Promise<number> {
      const { promise, resolve } = Promise.withResolvers<number>();
      awaited = { version, resolve };
      return promise;
    },
  };
}

/** Measures from the publish call to the delivery, over two connections as in Signalbox. */
async function barePublishes(nats: Nats, follower: Nats) {
  await nats.jsm.streams.add({ name: 'BARE', subjects: ['bare.*'], deny_delete: true });
  const body = Buffer.alloc(900, 120); // about the size of an activation's event
  let delivered = (_at: number) => {};
  const consumer = await follower.js.consumers.get('BARE', { filter_subjects: 'bare.default' });
  const messages = await consumer.consume({ callback: () => delivered(performance.now()) });
  return {
    async publish(): Promise<number> {
      const { promise, resolve } = Promise.withResolvers<number>();
      delivered = resolve;
      const started = performance.now();
      const [at] = await Promise.all([promise, nats.js.publish('bare.default', body)]);
      return at - started;
    },
    stop: () => messages.stop(),
  };
}
