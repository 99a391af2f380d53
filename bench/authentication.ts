import { poster, rateOf } from './load.ts';
import { median, publishSamples, type Registry, startRegistry } from './processes.ts';
import type { Result } from './result.ts';

const ROUNDS = 7;
const PATH = '/api/models/default/versions/active?environment=production';

/** `GET active` with a token and with an API key, against the same registry that asks nobody who he is. */
export async function authentication(): Promise<Result[]> {
  const guarded = await filled();
  const open = await filled('bench/unguarded.ts');
  const asked = [
    { name: 'open', url: open.url, headers: {} },
    { name: 'token', url: guarded.url, headers: guarded.headers },
    { name: 'API key', url: guarded.url, headers: await keyOf(guarded) },
  ];
  const rates = new Map<string, number[]>(asked.map(({ name }) => [name, []]));
  for (let round = 0; round <= ROUNDS; round++) {
    for (const { name, url, headers } of asked) {
      const rate = await rateOf(url + PATH, headers);
      if (round > 0) rates.get(name)!.push(rate); // the first round warms up
    }
  }
  await Promise.all([guarded.stop(), open.stop()]);
  const rate = (name: string) => median(rates.get(name)!);
  return ['token', 'API key'].map((name) => ({
    name: `GET active with a verified ${name} / without identification and permission`,
    ratio: rate(name) / rate('open'),
    aim: '≥ 0.9',
    told: `${Math.round(rate(name))} a second`,
  }));
}

async function filled(main?: string): Promise<Registry> {
  const registry = await startRegistry({}, main);
  await publishSamples(registry);
  const http = await poster(registry.url, registry.headers);
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
