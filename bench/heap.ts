/** Loaded into a server with `--import`: answers each message of its parent process with the bytes used on the heap. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

setFlagsFromString('--expose-gc');
const collect: () => void = runInNewContext('gc');

process.on('message', () => {
  collect();
  collect(); // frees what finalizers released
  process.send!(process.memoryUsage().heapUsed);
});
process.channel?.unref();
