import { setTimeout as sleep } from 'node:timers/promises';

/**
 * Stops reading a stream at a moment when the next bytes are asked for and buffered, as a peer that goes away may do. An
 * error that this causes outside of any promise fails the test run.
 */
export async function cutWhileReading(open: () => Promise<ReadableStream<Uint8Array>>): Promise<void> {
  for (let i = 0; i < 30; i++) {
    const reader = (await open()).getReader();
    for (let read = 0; read < 1 + (i % 5); read++) {
      await reader.read();
      await sleep(3);
    }
    const pending = reader.read();
    await reader.cancel();
    await pending;
  }
}
