/** A thread that keeps the batches of a writer, and fails when it has as many as it is given. */
import { parentPort } from 'node:worker_threads';

const MAX_SENT = 4;
let orders = 0;

parentPort!.on('message', () => {
  if (++orders === MAX_SENT) throw new Error('failed on purpose');
});
