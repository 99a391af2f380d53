/** A worker thread that asks for `/healthz` 200 times a second, and answers each message with the latencies since the last one. */
import { parentPort, workerData } from 'node:worker_threads';
import { asker } from './load.ts';

const EVERY_MS = 5;
/** During a long stall of the server, no more requests wait. */
const CONNECTIONS = 64;

const { url } = workerData as { url: string };
const idle = Array.from({ length: CONNECTIONS }, () => asker(url, {}));
let times: number[] = [];
let lastTick = performance.now();
/** How late this thread's timer fired, summed up to the last tick. */
let lateness = 0;

setInterval(() => {
  lateness = latenessNow();
  lastTick = performance.now();
  void probe();
}, EVERY_MS);

parentPort!.on('message', () => {
  parentPort!.postMessage(times);
  times = [];
});
parentPort!.postMessage(times); // it is running

/** Subtracts the time that this thread itself was delayed, because other processes had the processor. */
async function probe(): Promise<void> {
  const connection = idle.pop();
  if (!connection) return;
  const before = latenessNow();
  const { ms } = await connection.ask('GET', '/healthz');
  times.push(Math.max(0, ms - (latenessNow() - before)));
  idle.push(connection);
}

function latenessNow(): number {
  return lateness + Math.max(0, performance.now() - lastTick - EVERY_MS);
}
