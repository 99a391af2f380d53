/** Holds the newest of what was put in: whoever takes it out needs no older one. */
export interface Mailbox<T> {
  put(item: T): void;
  /** What is put in, until the signal aborts; one that is overtaken before it is taken out is not seen. */
  take(signal: AbortSignal): AsyncGenerator<T>;
}

export function createMailbox<T>(): Mailbox<T> {
  let item: { value: T } | null = null;
  let arrived = Promise.withResolvers<void>();

  return {
    put(value) {
      item = { value };
      arrived.resolve();
    },
    async *take(signal) {
      const wake = () => arrived.resolve();
      signal.addEventListener('abort', wake);
      try {
        while (!signal.aborted) {
          await arrived.promise;
          arrived = Promise.withResolvers();
          if (signal.aborted) return;
          const taken = item;
          item = null;
          if (taken) yield taken.value;
        }
      } finally {
        signal.removeEventListener('abort', wake);
      }
    },
  };
}
