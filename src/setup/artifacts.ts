import { resolve } from 'node:path';
import type { NatsConnection } from '@nats-io/transport-node';
import { nameOf, parseStoreAddress, type StoreAddress } from '../artifacts/address.ts';
import { MissingSdk, openStore } from '../artifacts/open.ts';
import { type Probe, probeStore } from '../artifacts/probe.ts';
import type { ServerConfig } from '../config.ts';
import { reasonOf } from '../files/system-error.ts';
import { connectOnce, parseNatsUrl } from '../log/connection.ts';
import { type Check, ok, skipped, warning, wrong } from './check.ts';

const NAME = 'artifact store';
/** Signatures of requests are refused at a difference of 15 minutes. */
const CLOCK_MS = 5 * 60_000;

/** Stores, reads and deletes a blob in the store of artifacts, if that is not the volume. */
export async function checkArtifactStore(config: ServerConfig): Promise<Check> {
  const address = parseStoreAddress(config.REGISTRY_ARTIFACTS);
  if (
    address.kind === 'file' &&
    (address.folder === null || resolve(address.folder) === resolve(config.REGISTRY_VOLUME))
  ) {
    return ok(NAME, 'the volume');
  }
  if (isNatsOfLog(address) && config.NATS_URL === undefined) {
    return skipped(NAME, 'nats: is the embedded nats-server, which the start of the registry tries');
  }
  try {
    return found(nameOf(address), await probe(address, config.NATS_URL));
  } catch (error) {
    if (error instanceof MissingSdk)
      return wrong(NAME, error.message, `Run ${error.install} where Signalbox is installed.`);
    const remedy = 'Check the bucket, the endpoint, the network, and the credentials and rights of this user.';
    return wrong(NAME, `${nameOf(address)} cannot be used: ${reasonOf(error)}.`, remedy);
  }
}

function isNatsOfLog(address: StoreAddress): boolean {
  return address.kind === 'nats' && address.url === null;
}

async function probe(address: StoreAddress, natsUrl: string | undefined): Promise<Probe> {
  const connectTo = (url: string) => connectOnce(parseNatsUrl(url));
  let nats: NatsConnection | null = null;
  try {
    if (isNatsOfLog(address)) nats = await connectTo(natsUrl!);
    const store = await openStore(address, { nats, connectTo });
    try {
      return await probeStore(store);
    } finally {
      await store.close();
    }
  } finally {
    await nats?.close();
  }
}

function found(name: string, { clock_ahead, addresses }: Probe): Check {
  if (Math.abs(clock_ahead) > CLOCK_MS) {
    const detail = `The clock of ${name} differs from this machine's by ${Math.round(Math.abs(clock_ahead) / 1000)} s.`;
    return warning(NAME, detail, 'Set both clocks by NTP: a store refuses requests that were signed at another time.');
  }
  const direct = { true: '; clients may download from it directly', false: '; downloads go through the registry' };
  return ok(NAME, `${name} can be written and read${direct[`${addresses === true}`]}`);
}
