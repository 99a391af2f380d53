import { on, once } from 'node:events';
import { parentPort, Worker } from 'node:worker_threads';

/** A worker thread that answers one input at a time. */
export interface Thread<In, Out> {
  ask(input: In): Promise<Out>;
  /** Ends the thread after all pending inputs. */
  close(): Promise<void>;
}

type Answer<Out> = { output: Out } | { error: Error };

/**
 * Starts a module of this folder as a thread; rejects if the start fails. A thread that fails later ends the process, which
 * its supervisor starts again.
 */
export async function startThread<In, Out>(module: string, data: unknown): Promise<Thread<In, Out>> {
  const worker = new Worker(new URL(module, import.meta.url), { workerData: data });
  await once(worker, 'message');
  const waiting: PromiseWithResolvers<Out>[] = [];
  worker.on('message', (answer: Answer<Out>) => {
    const { resolve, reject } = waiting.shift()!;
    if ('error' in answer) reject(answer.error);
    else resolve(answer.output);
  });

  return {
    ask(input) {
      const pending = Promise.withResolvers<Out>();
      waiting.push(pending);
      worker.postMessage(input);
      return pending.promise;
    },
    async close() {
      const ended = once(worker, 'exit');
      worker.postMessage(null);
      await ended;
    },
  };
}

/** Called in the thread: answers inputs until it is closed. */
export async function answer<In, Out>(work: (input: In) => Out | Promise<Out>): Promise<void> {
  const port = parentPort!;
  const inputs = on(port, 'message');
  port.postMessage('ready');
  for await (const [input] of inputs) {
    if (input === null) return;
    const answer = await (async () => work(input))().then(
      (output) => ({ output }),
      (error) => ({ error }),
    );
    port.postMessage(answer);
  }
}
