import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { connectNats } from '../src/log/connection.ts';
import { poster } from './load.ts';
import { median, publishSamples, startRegistry } from './processes.ts';
import type { Result } from './result.ts';

const TIMES = 500;

/** Compares an activation over HTTP, including the link on the volume, with a bare append to a stream of the same server. */
export async function activation(): Promise<Result[]> {
  const registry = await startRegistry();
  await publishSamples(registry);
  const { url, user, password } = JSON.parse(await readFile(join(registry.volume, '.nats/address.json'), 'utf8'));
  const nats = await connectNats({ servers: [url], user, pass: password }, 'bench');
  await nats.jsm.streams.add({ name: 'BARE', subjects: ['bare'], deny_delete: true });
  const body = Buffer.alloc(900, 120); // about the size of an activation's event
  const appends: number[] = [];
  const activations: number[] = [];
  const dryRuns: number[] = [];
  const http = poster(registry.url, registry.headers);
  let sequence = 0;
  for (let i = 0; i < TIMES; i++) {
    const version = i % 2 === 0 ? '1.0.0' : '1.1.0';
    appends.push(
      await timed(async () => {
        const ack = await nats.js.publish('bare', body, { expect: { lastSubjectSequence: sequence } });
        sequence = ack.seq;
      }),
    );
    const path = `/api/models/default/versions/${version}/activate`;
    dryRuns.push(await timed(() => http.post(path, { dry_run: true })));
    activations.push(await timed(() => http.post(path, {})));
  }
  http.end();
  await nats.nc.close();
  await registry.stop();
  // A dry run is the same but for the append, the fold and the link on the volume.
  const [took, append, dryRun] = [activations, appends, dryRuns].map((times) => `${median(times).toFixed(2)} ms`);
  const detail = `${took}, an append ${append}, a dry run ${dryRun}`;
  return [
    { name: 'activation / bare append, medians', ratio: median(activations) / median(appends), aim: '≤ 2.5', detail },
  ];
}

async function timed(action: () => Promise<void>): Promise<number> {
  const started = performance.now();
  await action();
  return performance.now() - started;
}
