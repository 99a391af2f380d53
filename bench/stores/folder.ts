import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { temporaryFolder } from '../processes.ts';
import { finished, timed } from './run.ts';
import type { MeasuredStore } from './side.ts';

/** A store in a folder; its bare parts are those of the measurement `upload`. */
export async function startFolder(): Promise<MeasuredStore> {
  const folder = await temporaryFolder();
  const copy = join(folder, 'copy');
  const hash = (path: string) => finished('openssl', ['dgst', '-sha256', '-r', path]);
  const write = (path: string) => finished('dd', [`if=${path}`, `of=${copy}`, 'bs=1M', 'conv=fsync']);
  return {
    env: { REGISTRY_ARTIFACTS: `file:${join(folder, 'store')}` },
    tools: { up: 'openssl beside dd conv=fsync', down: 'openssl' },
    bare: {
      up: async ({ path }) => ({ ms: await timed(() => Promise.all([hash(path), write(path)])) }),
      down: async () => ({ ms: await timed(() => hash(copy)) }),
      remove: () => rm(copy),
    },
    stop: () => rm(folder, { recursive: true }),
  };
}
