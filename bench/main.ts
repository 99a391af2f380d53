/** `npm run bench [name…]` prints ratios between Signalbox and its bare parts, each pair measured in this run. */
import { cpus } from 'node:os';
import { activation } from './activation.ts';
import { authentication } from './authentication.ts';
import { delivery } from './delivery.ts';
import { removeFilled } from './filled.ts';
import { followers } from './followers.ts';
import { getActive } from './get-active.ts';
import { list } from './list.ts';
import { mlflow } from './mlflow.ts';
import { replay } from './replay.ts';
import { start } from './start.ts';
import { stores } from './stores.ts';
import { swap } from './swap.ts';
import { upload } from './upload.ts';
import { verify } from './verify.ts';

const all = {
  'get-active': getActive,
  authentication,
  activation,
  delivery,
  followers,
  replay,
  swap,
  upload,
  stores,
  verify,
  start,
  list,
  mlflow,
};
const wanted = process.argv.slice(2);

console.log(`${cpus().length} × ${cpus()[0]?.model}, Node ${process.version}`);
try {
  for (const [name, measure] of Object.entries(all)) {
    if (wanted.length > 0 && !wanted.includes(name)) continue;
    for (const { name, ratio, aim, detail } of await measure()) {
      console.log(`${ratio.toFixed(2).padStart(6)}  (aim ${aim})  ${name}: ${detail}`);
    }
  }
} finally {
  await removeFilled();
}
