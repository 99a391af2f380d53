import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { startAzurite } from './azurite.ts';
import { startFakeGcs } from './fake-gcs.ts';
import { type Ends, temporaryFolder } from './folder.ts';
import { startNats } from './nats.ts';
import { startSeaweedFs } from './seaweedfs.ts';

/** An empty store for a registry: the variables that make it use the store. */
export type StoreVariables = { REGISTRY_ARTIFACTS: string } & Record<string, string>;

/** The kinds of stores besides the volume. Each starts a server, if it needs one; a call of what it returns gives a test an empty store. */
export const STORES: Readonly<Record<string, (ends: Ends) => Promise<() => Promise<StoreVariables>>>> = {
  async 'a folder'(ends) {
    const folder = await temporaryFolder(ends);
    return async () => ({ REGISTRY_ARTIFACTS: `file:${join(folder, randomUUID())}` });
  },
  async S3(ends) {
    const { endpoint, bucket, env, stop } = await startSeaweedFs();
    ends(stop);
    return async () => ({ REGISTRY_ARTIFACTS: `s3://${bucket}/${randomUUID()}?endpoint=${endpoint}`, ...env });
  },
  async Azure(ends) {
    const { endpoint, container, env, stop } = await startAzurite();
    ends(stop);
    return async () => ({ REGISTRY_ARTIFACTS: `azure://${container}/${randomUUID()}?endpoint=${endpoint}`, ...env });
  },
  async 'Google Cloud'(ends) {
    const { endpoint, bucket, stop } = await startFakeGcs();
    ends(stop);
    return async () => ({ REGISTRY_ARTIFACTS: `gs://${bucket}/${randomUUID()}?endpoint=${endpoint}` });
  },
  async NATS() {
    return async () => ({ REGISTRY_ARTIFACTS: (await startNats(process.env.NATS_SERVER_BIN!)).url });
  },
};
