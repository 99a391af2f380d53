// Runs with few file descriptors: uses up all of them, waits for the probes, and prints what became of nats-server. Run by descriptors.test.ts.
import { closeSync, openSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { startNatsServer } from '../../../src/log/embedded/server.ts';

const [folder, binary] = process.argv.slice(2) as [string, string];
const messages: string[] = [];
const note = (_: object, message: string) => void messages.push(message);
const log = { info: note, warn: note, error: note };
const nats = await startNatsServer({ folder, binary, log, probeEvery: 50 });
const { pid } = nats;

const held: number[] = [];
let code: unknown;
// Twenty probes find no descriptor, and six failures in a row count as an illness. What a probe gives back is used up, too.
for (let i = 0; i < 20; i++) {
  try {
    for (;;) held.push(openSync('/dev/null', 'r'));
  } catch (error) {
    ({ code } = error as NodeJS.ErrnoException);
  }
  await sleep(50);
}
const running = nats.pid;
for (const descriptor of held) closeSync(descriptor);
await nats.close();
console.log(JSON.stringify({ code, restarted: running !== pid, messages }));
