/**
 * Lets two consumers read the same bytes. Both get a chunk when both have asked for it, so a chunk is valid until the next
 * request, and nothing is kept. If one of them leaves (`return`), the other continues alone.
 */
export function inStep(bytes: AsyncIterable<Uint8Array>): [Consumer, Consumer] {
  const source = bytes[Symbol.asyncIterator]();
  let round = Promise.withResolvers<IteratorResult<Uint8Array>>();
  let asked = 0;
  let consumers = 2;

  function advance(): void {
    if (asked < consumers) return;
    const { resolve, reject } = round;
    round = Promise.withResolvers();
    asked = 0;
    source.next().then(resolve, reject);
  }

  function consumer(): Consumer {
    let left = false;
    return {
      [Symbol.asyncIterator]() {
        return this;
      },
      next() {
        const { promise } = round;
        asked++;
        advance();
        return promise;
      },
      async return() {
        if (!left) {
          left = true;
          consumers--;
          if (consumers === 0) await source.return?.();
          else if (asked > 0) advance();
        }
        return { done: true, value: undefined };
      },
    };
  }

  return [consumer(), consumer()];
}

export interface Consumer extends AsyncIterableIterator<Uint8Array> {
  return(): Promise<IteratorResult<Uint8Array>>;
}
