import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { median, quantile } from './processes.ts';

const WARM_UP_MS = 1_000;
const IDLE_MS = 3_000;

/** How much longer small requests took than those of an idle server, in ms: the delay of the server's event loop. */
export interface Delay {
  p99: number;
  max: number;
}

export type Stalls = Awaited<ReturnType<typeof watchStalls>>;

/** Watches the event loop of a server from outside, with small requests of a thread of their own. */
export async function watchStalls(url: string) {
  const worker = new Worker(new URL('./probe.ts', import.meta.url), { workerData: { url } });
  await once(worker, 'message');
  await sleep(WARM_UP_MS);
  await take();
  await sleep(IDLE_MS);
  const times = await take();
  const usual = median(times);
  const delayOf = (values: number[]): Delay => ({
    p99: Math.max(0, quantile(values, 0.99) - usual),
    max: Math.max(0, Math.max(...values) - usual),
  });
  return {
    /** The delay while nothing else was asked: what the machine adds. */
    idle: delayOf(times),
    /** Runs the work and returns the delay during it. */
    async during(work: () => Promise<void>): Promise<Delay> {
      await take();
      await work();
      return delayOf(await take());
    },
    end: () => worker.terminate(),
  };

  async function take(): Promise<number[]> {
    worker.postMessage('take');
    const [taken] = await once(worker, 'message');
    return taken;
  }
}
