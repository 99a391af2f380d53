import { startRegistry } from './processes.ts';
import type { Result } from './result.ts';
import { large } from './stores/large.ts';
import { startOrSkip } from './stores/measured.ts';
import { reads } from './stores/reads.ts';
import { startS3 } from './stores/s3.ts';
import { smallFiles } from './stores/small-files.ts';

/** Compares stores of artifacts with their own tools, and a registry on S3 with one on its volume. */
export async function stores(): Promise<Result[]> {
  return [...(await registryOnS3()), ...(await large())];
}

async function registryOnS3(): Promise<Result[]> {
  const s3 = await startOrSkip('a registry on S3', startS3);
  if (!s3) return [];
  const started: { stop(): Promise<void> }[] = [s3];
  try {
    const onS3 = await startRegistry(s3.env);
    started.push(onS3);
    const onVolume = await startRegistry();
    started.push(onVolume);
    return [...(await smallFiles(s3, onS3, onVolume)), ...(await reads(s3, onS3, onVolume))];
  } finally {
    for (const one of started.toReversed()) await one.stop();
  }
}
