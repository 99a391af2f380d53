import { logVariables, readConfig } from '../../config.ts';
import { lockVolume } from '../../files/lock.ts';
import type { OpenLog } from '../../proof/open.ts';
import type { LogSource } from '../../proof/source.ts';
import { notify } from './output.ts';

/** Opens the log (an exported file, or the stream that the variables name), passes it to `use` and closes it. */
export async function withLogSource<T>(file: string | undefined, use: (source: LogSource) => Promise<T>): Promise<T> {
  const { openSource } = await opening();
  const source = await openSource({ ...logOptions(), file });
  try {
    return await use(source);
  } finally {
    await source.close();
  }
}

/**
 * Opens a connection for a restore, which may have to create the log. The caller closes it.
 *
 * @throws {Error} if a registry runs on the volume
 */
export async function openLogAlone(): Promise<OpenLog> {
  const { openLog } = await opening();
  return openLog({ ...logOptions(), alone: true });
}

/** Imported on demand, so that other commands start without NATS. */
function opening() {
  return import('../../proof/open.ts');
}

function logOptions() {
  // Without a handler the signal would end this process before its exit handlers stop the nats-server that it started.
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));
  return { place: readConfig(logVariables, process.env), lock: lockVolume, progress: notify };
}
