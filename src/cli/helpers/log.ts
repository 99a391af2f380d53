import { logVariables, readConfig } from '../../config.ts';
import { lockVolume } from '../../files/lock.ts';
import type { OpenLog } from '../../proof/open.ts';
import type { LogSource } from '../../proof/source.ts';
import { notify } from './output.ts';
import { exitOnSignal } from './signals.ts';

/** Opens the log (an exported file, or the stream that the variables name), passes it to `use` and closes it. */
export async function withLogSource<T>(file: string | undefined, use: (source: LogSource) => Promise<T>): Promise<T> {
  const { openSource } = await import('../../proof/open.ts');
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
  const { openLog } = await import('../../proof/open.ts');
  return openLog({ ...logOptions(), alone: true });
}

/** Opens a connection beside a registry, or without one. The caller closes it, also on a signal. */
export async function openLogShared(): Promise<OpenLog> {
  const { openLog } = await import('../../proof/open.ts');
  return openLog(placeOfLog());
}

function logOptions() {
  exitOnSignal();
  return placeOfLog();
}

function placeOfLog() {
  return { place: readConfig(logVariables, process.env), lock: lockVolume, progress: notify };
}
