import { on, once } from 'node:events';
import { parentPort, Worker } from 'node:worker_threads';

/** Work that is done in a thread of its own, one piece after the other. */
export interface Thread<In, Out> {
  ask(input: In): Promise<Out>;
  /** Ends it, after everything that it was asked. */
  close(): Promise<void>;
}

type Answer<Out> = { output: Out } | { error: Error };

/**
 * Starts a module of this folder as a thread; what fails before it answers rejects. A thread that dies later takes the
 * process with it, to be started anew by whoever supervises it.
 */
export async function startThread<In, Out>(module: string, data: unknown): Promise<Thread<In, Out>> {
  const worker = new Worker(new URL(module, import.meta.url), { workerData: data });
  await once(worker, 'message');
  const asked: PromiseWithResolvers<Out>[] = [];
  worker.on('message', (answer: Answer<Out>) => {
    const { resolve, reject } = asked.shift()!;
    if ('error' in answer) reject(answer.error);
    else resolve(answer.output);
  });

  return {
    ask(input) {
      const pending = Promise.withResolvers<Out>();
      asked.push(pending);
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

/** In the thread: answers until it is closed. */
export async function answer<In, Out>(work: (input: In) => Out | Promise<Out>): Promise<void> {
  const port = parentPort!;
  const asked = on(port, 'message');
  port.postMessage('ready');
  for await (const [input] of asked) {
    if (input === null) return;
    const answer = await (async () => work(input))().then(
      (output) => ({ output }),
      (error) => ({ error }),
    );
    port.postMessage(answer);
  }
}
