// Run by descriptors.test.ts with few file descriptors: opens all of them, waits for the probes, and prints whether nats-server was restarted.
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
// Twenty probes find no free descriptor; six failures in a row would be unhealthy. Descriptors that a probe frees are opened, too.
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
