import { startFolder } from './folder.ts';
import { startNats } from './nats.ts';
import { startS3 } from './s3.ts';
import type { MeasuredStore } from './side.ts';

/** The stores to compare with their own tools, each by a function that starts it. */
export const MEASURED: Readonly<Record<string, () => Promise<MeasuredStore>>> = {
  S3: startS3,
  NATS: startNats,
  'a folder': startFolder,
};

/** Starts a store; returns null if its programs cannot be installed or started, so that the other measurements go on. */
export async function startOrSkip<T extends MeasuredStore>(name: string, start: () => Promise<T>): Promise<T | null> {
  return start().catch((error: Error) => {
    console.error(`skipped: ${name} (${error.message.split('\n')[0]})`);
    return null;
  });
}
