import { execFile } from 'node:child_process';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type ReplayOptions, replayLog } from '../src/audit/replay.ts';
import { connectNats, type Nats } from '../src/log/connection.ts';
import { ensureStream } from '../src/log/stream.ts';
import { openStreamSource } from '../src/proof/stream-source.ts';
import { activations, filler, START } from './fill.ts';
import { startPlainServer } from './plain-nats.ts';
import { median, temporaryFolder } from './processes.ts';
import { parseAll } from './replay.ts';
import type { Result } from './result.ts';

const EVENTS = 1_000_000;
const MIDDLE = EVENTS / 2;
const MODELS = 20;
const ROUNDS = 3;

/** Compares `replay --verify` of 1,000,000 events, and `--at` their middle, with an ordered consumer that parses their JSON. */
export async function verify(): Promise<Result[]> {
  const folder = await temporaryFolder();
  const server = await startPlainServer(folder);
  const nats = await connectNats({ servers: [server.url] }, 'bench');
  try {
    await ensureStream(nats);
    const fill = filler(nats, activations(MODELS));
    await fill(EVENTS);
    await replay(nats, { moment: { revision: EVENTS / 10 } }); // warms up
    const results = await ratios(nats);
    const peak = await peakOf(server.url);
    await fill(2 * EVENTS);
    return [...results, memory(peak, await peakOf(server.url))];
  } finally {
    await nats.nc.close();
    await server.close();
    await rm(folder, { recursive: true });
  }
}

async function ratios(nats: Nats): Promise<Result[]> {
  const took = { parse: [] as number[], verify: [] as number[], revision: [] as number[], time: [] as number[] };
  for (let round = 0; round < ROUNDS; round++) {
    took.parse.push(await parseAll(nats, EVENTS));
    took.verify.push(await replay(nats, {}));
    took.revision.push(await replay(nats, { moment: { revision: MIDDLE } }));
    took.time.push(await replay(nats, { moment: { at: START + MIDDLE * 1000 } }));
  }
  const parse = median(took.parse);
  const result = (name: string, times: number[], aim: string): Result => {
    const detail = `${(median(times) / 1000).toFixed(1)} s of ${(parse / 1000).toFixed(1)} s`;
    return { name: `${name} / ordered consumer with JSON.parse of all`, ratio: parse / median(times), aim, detail };
  };
  return [
    result('replay --verify of 1,000,000 events', took.verify, '≥ 0.5'),
    result('replay --at the revision in their middle', took.revision, '≥ 1'),
    result('replay --at the time in their middle', took.time, '≥ 0.5'),
  ];
}

/** Returns the duration in ms. @throws {Error} if anything does not verify */
async function replay(nats: Nats, options: ReplayOptions): Promise<number> {
  const started = performance.now();
  const { findings } = await replayLog(await openStreamSource(nats, async () => {}), options);
  if (findings.length > 0) throw new Error(JSON.stringify(findings[0]));
  return performance.now() - started;
}

/** Returns the peak memory of `signalbox replay --verify`, in MiB. */
function peakOf(url: string): Promise<number> {
  const [main, peak] = ['../dist/cli/main.js', 'peak.ts'].map((file) => join(import.meta.dirname, file));
  const args = ['--import', peak!, main!, 'replay', '--verify'];
  return new Promise((resolve, reject) => {
    execFile(process.execPath, args, { env: { ...process.env, NATS_URL: url } }, (error, _, stderr) => {
      if (error) reject(error);
      else resolve(Number(/^peak (\d+)$/m.exec(stderr)![1]) / 1024);
    });
  });
}

/** Checks that twice the events take no more memory. */
function memory(once: number, twice: number): Result {
  const detail = `${twice.toFixed(0)} MiB / ${once.toFixed(0)} MiB`;
  return {
    name: 'peak memory of replay --verify of 2,000,000 events / of 1,000,000',
    ratio: twice / once,
    aim: '≤ 1.2',
    detail,
  };
}
