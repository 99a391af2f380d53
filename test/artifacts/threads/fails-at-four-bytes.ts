/** The thread of a writer, which fails after a batch of four bytes. */
import { parentPort } from 'node:worker_threads';
import '../../../src/artifacts/writer-thread.ts';
import type { Order } from '../../../src/artifacts/writer-thread.ts';

parentPort!.on('message', (order: Order) => {
  if ('batch' in order && order.length === 4) throw new Error('failed on purpose');
});
