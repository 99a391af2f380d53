import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Digest } from '../../src/domain/digest.ts';
import { median, temporaryFolder } from '../processes.ts';
import type { Result } from '../result.ts';
import { MEASURED, startOrSkip } from './measured.ts';
import { finished } from './run.ts';
import { type MeasuredStore, type Sample, type Side, type Transfer, throughRegistry } from './side.ts';

const MIB = 1024 ** 2;
const SIZE_MIB = 1024;
const ROUNDS = 3;
const MEMORY_AIM_MIB = 250;

type Direction = 'up' | 'down';
type Times = Record<Direction, Required<Transfer>[]>;

/** Sends 1 GiB to each store and reads it again, through the registry's store and with the store's own tools in turn. */
export async function large(): Promise<Result[]> {
  const folder = await temporaryFolder();
  try {
    const sample = await makeSample(join(folder, 'file'));
    const results: Result[] = [];
    for (const [name, start] of Object.entries(MEASURED)) {
      const store = await startOrSkip(name, start);
      if (!store) continue;
      try {
        results.push(...(await compare(name, store, sample)));
      } finally {
        await store.stop();
      }
    }
    return results;
  } finally {
    await rm(folder, { recursive: true });
  }
}

async function makeSample(path: string): Promise<Sample> {
  await finished('dd', ['if=/dev/urandom', `of=${path}`, 'bs=1M', `count=${SIZE_MIB}`]);
  const found = await finished('openssl', ['dgst', '-sha256', '-r', path]);
  return { path, digest: Digest.parse(`sha256:${found.slice(0, 64)}`) };
}

async function compare(name: string, store: MeasuredStore, sample: Sample): Promise<Result[]> {
  const ours = throughRegistry(store);
  const took = { ours: emptyTimes(), bare: emptyTimes() };
  for (let round = 0; round < ROUNDS; round++) {
    const turns = [
      { side: ours, times: took.ours },
      { side: store.bare, times: took.bare },
    ];
    if (round % 2 === 1) turns.reverse();
    for (const { side, times } of turns) times.up.push(await transfer(side, 'up', sample));
    for (const { side, times } of turns) times.down.push(await transfer(side, 'down', sample));
    for (const { side } of turns) await side.remove(sample);
  }
  return (['up', 'down'] as const).flatMap((direction) => results(name, direction, store, took));
}

function emptyTimes(): Times {
  return { up: [], down: [] };
}

async function transfer(side: Side, direction: Direction, sample: Sample): Promise<Required<Transfer>> {
  const { ms, peak = 0 } = await side[direction](sample);
  return { ms, peak };
}

function results(
  name: string,
  direction: Direction,
  { tools }: MeasuredStore,
  took: { ours: Times; bare: Times },
): Result[] {
  const ours = took.ours[direction];
  const bare = took.bare[direction];
  const ratios = ours.map(({ ms }, round) => bare[round]!.ms / ms).toSorted((a, b) => a - b);
  const range = ratios.map((ratio) => ratio.toFixed(2)).join('–');
  const speed = (transfers: Transfer[]) => `${Math.round(SIZE_MIB / (median(transfers.map(({ ms }) => ms)) / 1000))}`;
  const peak = Math.max(...ours.map((one) => one.peak)) / MIB;
  return [
    {
      name: `${name}, 1 GiB ${direction}: ${tools[direction]} / the registry's store`,
      ratio: median(ratios),
      aim: '≥ 0.8',
      detail: `${range}; ${speed(ours)} MiB/s, ${tools[direction]} ${speed(bare)} MiB/s`,
    },
    {
      name: `${name}, 1 GiB ${direction}: peak resident memory / ${MEMORY_AIM_MIB} MiB`,
      ratio: peak / MEMORY_AIM_MIB,
      aim: '≤ 1',
      detail: `${Math.round(peak)} MiB`,
    },
  ];
}
