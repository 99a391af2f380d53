/** Loaded into a server with `--import`: tells whoever started it, when asked, how much its heap holds. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

setFlagsFromString('--expose-gc');
const collect: () => void = runInNewContext('gc');

process.on('message', () => {
  collect();
  collect(); // what finalizers let go goes with the second
  process.send!(process.memoryUsage().heapUsed);
});
process.channel?.unref();
