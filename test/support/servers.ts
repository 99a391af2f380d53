import { access } from 'node:fs/promises';
import { userCacheFolder } from '../../src/cache-folder.ts';
import { fetchNatsServer, findNatsServer } from '../../src/log/embedded/binary.ts';
import { cachedPath } from '../../src/log/embedded/fetch.ts';

/** The oldest release that Signalbox supports is 2.10.23; its series is tested at its last patch. */
export const OLDEST_NATS = '2.10.29';

const progress = (line: string) => console.error(line);

/** Runs once, before any test: both nats-servers are at hand, and every process of the tests finds the same ones. */
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
  return there ? cached : (await fetchNatsServer({ version: OLDEST_NATS, progress })).path;
}
