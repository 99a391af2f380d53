import { randomBytes } from 'node:crypto';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { median, publishVersion, type Registry, temporaryFolder } from '../processes.ts';
import type { Result } from '../result.ts';
import { timed } from './run.ts';
import type { S3 } from './s3.ts';

const FILES = 1000;
const FILE_BYTES = 4096;
const ROUNDS = 3;

/** Publishes 1,000 files of 4 KiB to a registry on S3, to one on its volume, and sends them to S3 with s5cmd. */
export async function smallFiles(s3: S3, onS3: Registry, onVolume: Registry): Promise<Result[]> {
  const folder = await temporaryFolder();
  const times = { s3: [] as number[], volume: [] as number[], s5cmd: [] as number[] };
  try {
    for (let round = 0; round < ROUNDS; round++) {
      const files = join(folder, `${round}`);
      const version = `1.0.${round}`;
      await fill(files); // new ones: those that are there are not sent again
      const turns = [
        async () => times.s3.push(await timed(() => publishVersion(onS3, version, files))),
        async () => times.volume.push(await timed(() => publishVersion(onVolume, version, files))),
        async () => times.s5cmd.push(await timed(() => s3.sendFolder(files))),
      ];
      if (round % 2 === 1) turns.reverse();
      for (const turn of turns) await turn();
    }
  } finally {
    await rm(folder, { recursive: true });
  }
  return [
    compared('the same on the volume', times.volume, times.s3, '≥ 0.5'),
    compared('s5cmd cp of the folder', times.s5cmd, times.s3, 'none'),
  ];
}

async function fill(folder: string): Promise<void> {
  await mkdir(folder);
  for (let file = 0; file < FILES; file++) await writeFile(join(folder, `${file}.bin`), randomBytes(FILE_BYTES));
}

function compared(other: string, theirs: number[], ours: number[], aim: string): Result {
  const described = (ms: number[]) => {
    const seconds = median(ms) / 1000;
    return `${seconds.toFixed(2)} s, ${Math.round(FILES / seconds)} files/s`;
  };
  return {
    name: `publish of 1,000 files of 4 KiB on S3: ${other} / ours`,
    ratio: median(theirs) / median(ours),
    aim,
    detail: `${described(ours)} (${described(theirs)})`,
  };
}
