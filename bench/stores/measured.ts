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
