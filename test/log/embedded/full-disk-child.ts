// Run by full-disk.test.ts in a mount namespace with a tiny disk at argv[2]: fills the disk, frees the space, and prints the results.
import { rmSync, statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { jetstream, jetstreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import { startNatsServer } from '../../../src/log/embedded/server.ts';

const [disk, binary] = process.argv.slice(2) as [string, string];
const messages: string[] = [];
const note = (_: object, message: string) => void messages.push(message);
const log = { info: note, warn: note, error: note };
const nats = await startNatsServer({ folder: join(disk, '.nats'), binary, log, probeEvery: 300 });
const options = {
  servers: nats.url,
  user: nats.user,
  pass: nats.password,
  maxReconnectAttempts: -1,
  reconnectTimeWait: 100,
};
const nc = await connect(options);
const manager = await jetstreamManager(nc);
await manager.streams.add({ name: 'T', subjects: ['t.*'], storage: 'file' });

const append = () => jetstream(nc).publish('t.a', 'x'.repeat(400), { timeout: 1000 });
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
let acknowledged = 0;

async function appendUntil(wanted: 'stored' | 'refused', attempts: number): Promise<boolean> {
  for (let i = 0; i < attempts; i++) {
    const ack = await append().catch(() => undefined);
    if (ack) acknowledged += 1;
    if ((ack ? 'stored' : 'refused') === wanted) return true;
    if (!ack) await sleep(200);
  }
  return false;
}

const { version, pid } = nats;
for (let i = 0; i < 50; i++) await appendUntil('stored', 1);
try {
  writeFileSync(join(disk, 'ballast'), Buffer.alloc(64 << 20));
} catch {
  // Expected: the disk is full now.
}
const refused = await appendUntil('refused', 200);
await sleep(3000);
const restartedWhileFull = nats.pid !== pid;
rmSync(join(disk, 'ballast'));
const freed = Date.now();
const stored = await appendUntil('stored', 60);
const recoveredMs = Date.now() - freed;
const found = (await manager.streams.info('T')).state.messages;
const free = statfsSync(disk).bavail;
const restarted = nats.pid !== pid;
await nc.close();
await nats.close();
const seen = {
  version,
  refused,
  restartedWhileFull,
  stored,
  restarted,
  recoveredMs,
  acknowledged,
  found,
  free,
  messages,
};
console.log(JSON.stringify(seen));
