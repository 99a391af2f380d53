import type { Bucket } from '../stores/bucket.ts';

/** What reading objects outside of the store needs of a bucket. */
export type SourceReader = Pick<Bucket, 'name' | 'read' | 'close'>;
