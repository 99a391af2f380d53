// Run by orphan.test.ts as a signalbox to kill: starts the embedded server, stores some messages and waits.
import { jetstream, jetstreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import { startNatsServer } from '../../../src/log/embedded/server.ts';

const [folder, binary, then] = process.argv.slice(2) as [string, string, string?];
const quiet = () => undefined;
const nats = await startNatsServer({ folder, binary, log: { info: quiet, warn: quiet, error: quiet } });
const nc = await connect({ servers: nats.url, user: nats.user, pass: nats.password });
await (await jetstreamManager(nc)).streams.add({ name: 'T', subjects: ['t.*'], storage: 'file' });
let last = 0;
for (let i = 0; i < 20; i++) last = (await jetstream(nc).publish('t.a', `${i}`)).seq;
console.log(JSON.stringify({ pid: nats.pid, url: nats.url, last }));
if (then === 'exit') process.exit(0);
setInterval(quiet, 1000);
