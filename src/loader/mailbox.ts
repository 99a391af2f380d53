/** Creates a mailbox that holds only the newest item: its reader needs no older one. */
export function createMailbox<T>() {
  let item: { value: T } | null = null;
  let arrived = Promise.withResolvers<void>();

  return {
    put(value: T): void {
      item = { value };
      arrived.resolve();
    },
    /** Yields items until the signal aborts. An item that is replaced before it is taken is skipped. */
    async *take(signal: AbortSignal): AsyncGenerator<T> {
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
