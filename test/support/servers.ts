import { access } from 'node:fs/promises';
import { userCacheFolder } from '../../src/files/cache-folder.ts';
import { fetchNatsServer, findNatsServer } from '../../src/log/embedded/binary.ts';
import { cachedPath } from '../../src/log/embedded/fetch.ts';

/** The oldest release that Signalbox supports is 2.10.23; its series is tested at its last patch. */
export const OLDEST_NATS = '2.10.29';
/** From the Dockerfiles of nats-io/nats-docker. On other platforms Go builds the server. */
const OLDEST_ARCHIVES = {
  'linux-amd64': 'e314da74a83a1d3876db8814c27eb990fe729640fd6452025b441bcede8390da',
  'linux-arm64': 'da4b27942ecfb4c5f0c54553d2e7f470ddda9d7581cfe8131b351a0e223ed401',
};

const progress = (line: string) => console.error(line);

/** Runs once before all tests: finds or fetches both nats-servers, and sets their paths for all test processes. */
export default async function servers(): Promise<void> {
  process.env.NATS_SERVER_BIN = (await findNatsServer({ progress })).path;
  process.env.NATS_SERVER_OLDEST = await oldest();
}

async function oldest(): Promise<string> {
  const cached = cachedPath(userCacheFolder(process.env), OLDEST_NATS);
  const there = await access(cached).then(
    () => true,
    () => false,
  );
  return there ? cached : (await fetchNatsServer({ version: OLDEST_NATS, archives: OLDEST_ARCHIVES, progress })).path;
}
