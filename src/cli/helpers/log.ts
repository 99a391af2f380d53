import { logVariables, readConfig } from '../../config.ts';
import { lockVolume } from '../../files/lock.ts';
import type { OpenLog } from '../../proof/open.ts';
import type { LogSource } from '../../proof/source.ts';
import { tell } from './output.ts';

/** Lets somebody read the log, an exported file or the stream that the environment names, and closes it. */
export async function withLogSource<T>(file: string | undefined, use: (source: LogSource) => Promise<T>): Promise<T> {
  const { openSource } = await opening();
  const source = await openSource({ ...surroundings(), file });
  try {
    return await use(source);
  } finally {
    await source.close();
  }
}

/**
 * A connection for who writes the log anew, where there may be none yet. Close it in the end.
 *
 * @throws {Error} where a registry runs on the volume
 */
export async function openLogAlone(): Promise<OpenLog> {
  const { openLog } = await opening();
  return openLog({ ...surroundings(), alone: true });
}

/** Loaded then, so that the other verbs start without the parts of NATS. */
function opening() {
  return import('../../proof/open.ts');
}

function surroundings() {
  // Not by the signal itself: a nats-server that was started here ends with the process, if it may say goodbye.
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));
  return { place: readConfig(logVariables, process.env), lock: lockVolume, progress: tell };
}
