import { poster, rateOf } from './load.ts';
import { median, publishSamples, type Registry, startRegistry } from './processes.ts';
import type { Result } from './result.ts';

const ROUNDS = 7;
const PATH = '/api/models/default/versions/active?environment=production';

/** Compares `GET active` with a token and an API key with a registry without authentication, and one without rate limits. */
export async function authentication(): Promise<Result[]> {
  const guarded = await filled();
  const open = await filled({}, 'bench/unguarded.ts');
  const unlimited = await filled({ REGISTRY_RATE_LIMIT: '0' });
  const targets = [
    { name: 'open', url: open.url, headers: {} },
    { name: 'unlimited', url: unlimited.url, headers: unlimited.headers },
    { name: 'token', url: guarded.url, headers: guarded.headers },
    { name: 'API key', url: guarded.url, headers: await keyOf(guarded) },
  ];
  const rates = new Map<string, number[]>(targets.map(({ name }) => [name, []]));
  for (let round = 0; round <= ROUNDS; round++) {
    for (const { name, url, headers } of targets) {
      const rate = await rateOf(url + PATH, headers);
      if (round > 0) rates.get(name)!.push(rate); // the first round warms up
    }
  }
  await Promise.all([guarded, open, unlimited].map(({ stop }) => stop()));
  const rate = (name: string) => median(rates.get(name)!);
  const result = (name: string, without: string, what: string): Result => ({
    name: `GET active with ${what}`,
    ratio: rate(name) / rate(without),
    aim: '≥ 0.9',
    detail: `${Math.round(rate(name))} a second`,
  });
  return [
    result('token', 'open', 'a verified token / without identification and permission'),
    result('API key', 'open', 'a verified API key / without identification and permission'),
    result('token', 'unlimited', 'the limit of requests / without'),
  ];
}

async function filled(env: NodeJS.ProcessEnv = {}, main?: string): Promise<Registry> {
  const registry = await startRegistry(env, main);
  await publishSamples(registry);
  const http = poster(registry.url, registry.headers);
  await http.post('/api/models/default/versions/1.0.0/activate', {});
  http.end();
  return registry;
}

async function keyOf({ url, headers }: Registry): Promise<Record<string, string>> {
  const body = JSON.stringify({ name: 'bench', reach: { allow: ['read'] } });
  const all = { ...headers, 'Content-Type': 'application/json' };
  const made = (await (await fetch(`${url}/api/keys`, { method: 'POST', headers: all, body })).json()) as {
    key: string;
  };
  return { Authorization: `Bearer ${made.key}` };
}
