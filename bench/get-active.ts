import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { poster, rateOf } from './load.ts';
import { median, publishSamples, run, startRegistry, temporaryFolder } from './processes.ts';
import type { Result } from './result.ts';

const ROUNDS = 7;

/** Compares `GET active` with bare Hono and the same bytes, with and without authentication and a log line. */
export async function getActive(): Promise<Result[]> {
  const registry = await startRegistry();
  await publishSamples(registry);
  const http = poster(registry.url, registry.headers);
  await http.post('/api/models/default/versions/1.0.0/activate', {});
  http.end();
  const path = '/api/models/default/versions/active?environment=production';
  const answer = await fetch(registry.url + path, { headers: registry.headers });
  const own = ['date', 'connection', 'keep-alive', 'transfer-encoding', 'content-length'];
  const headers = Object.fromEntries([...answer.headers].filter(([name]) => !own.includes(name)));
  const folder = await temporaryFolder();
  const file = join(folder, 'answer.json');
  await writeFile(
    file,
    JSON.stringify({ headers, body: await answer.text(), secret: Buffer.from(registry.secret).toString() }),
  );
  const bare = await run('bench/bare.ts', [file]);
  const same = await run('bench/bare.ts', [file, 'all']);
  const rates = { registry: [] as number[], bare: [] as number[], same: [] as number[] };
  for (let round = 0; round <= ROUNDS; round++) {
    for (const [name, { url }] of Object.entries({ bare, registry, same })) {
      const rate = await rateOf(url + path, registry.headers);
      if (round > 0) rates[name as keyof typeof rates].push(rate); // the first round warms up
    }
  }
  await Promise.all([registry, bare, same].map(({ stop }) => stop()));
  await rm(folder, { recursive: true });
  const rate = median(rates.registry);
  const detail = `${Math.round(rate)} a second`;
  return [
    {
      name: 'GET active / bare Hono with identification and log line',
      ratio: rate / median(rates.same),
      aim: '≥ 0.9',
      detail,
    },
    { name: 'GET active / bare Hono', ratio: rate / median(rates.bare), aim: '≥ 0.75', detail },
  ];
}
