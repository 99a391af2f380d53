/** Holds only the newest item: its reader needs no older one. */
export interface Mailbox<T> {
  put(item: T): void;
  /** Yields items until the signal aborts. An item that is replaced before it is taken is skipped. */
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
