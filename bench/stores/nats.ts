import { rm } from 'node:fs/promises';
import { startPlainServer } from '../plain-nats.ts';
import { temporaryFolder } from '../processes.ts';
import { type MeasuredStore, nodeSide } from './side.ts';

/** Starts nats-server. Its client library is the bare side: `nats object put` of 1 GiB is refused, "too many requests". */
export async function startNats(): Promise<MeasuredStore> {
  const folder = await temporaryFolder();
  const { url, close } = await startPlainServer(folder);
  return {
    env: { REGISTRY_ARTIFACTS: url },
    tools: { up: '@nats-io/obj', down: '@nats-io/obj' },
    bare: nodeSide('bare-nats.ts', { NATS_URL: url }),
    async stop() {
      await close();
      await rm(folder, { recursive: true });
    },
  };
}
