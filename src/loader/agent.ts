import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readFile, readlink, realpath, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { pointLink } from '../files/link.ts';
import type { VersionInfo } from './loaded-version.ts';
import { type Loader, type LoaderOptions, startLoader } from './loader.ts';
import { consoleLog } from './log.ts';
import { pythonRuntime } from './python-runtime.ts';

export interface AgentOptions extends Pick<LoaderOptions<string>, 'model' | 'environment' | 'volume' | 'log'> {
  /** The folder of the link `current`. */
  folder: string;
  /** The service's Python interpreter, whose packages must satisfy `requires`. */
  python?: string | undefined;
  /** A command for `sh`, or a URL to POST to, after `current` has changed. */
  onChange?: string | undefined;
}

/**
 * Keeps the link `current` in a folder at the active version, for a service whose code cannot be changed. It is a loader
 * whose model is the link. If the service cannot be notified, the link is restored and the load is retried.
 */
export async function startAgent({ folder, python, onChange, ...options }: AgentOptions): Promise<Loader<string>> {
  await mkdir(folder, { recursive: true, mode: 0o755 });
  const home = await realpath(folder); // without symbolic links, as in the cache: the link is relative to it
  const current = join(home, 'current');
  const own = join(home, '.signalbox');
  const notifiedFile = join(own, 'told');
  // One at a time: otherwise an overtaken change could restore its link over a newer one.
  let turn: Promise<unknown> = Promise.resolve();
  let served: Change | null = null;
  let closing = false;

  const loader = await startLoader<string>({
    ...options,
    cacheDir: own,
    runtime: python === undefined ? async () => ({}) : pythonRuntime(python),
    hydrate(version, files, signal) {
      const mine = turn.then(() => change({ version, to: files.folder }, signal));
      turn = mine.catch(() => {});
      return mine;
    },
  });
  return {
    ...loader,
    close() {
      closing = true;
      return loader.close();
    },
  };

  async function change(next: Change, signal: AbortSignal): Promise<string> {
    signal.throwIfAborted();
    const before = await readlink(current).catch(() => null);
    await pointLink(current, relative(home, next.to));
    try {
      const notified = await readFile(notifiedFile, 'utf8').catch(() => '');
      if (notified !== next.version.manifest_digest) await notify(next, signal);
      signal.throwIfAborted();
    } catch (error) {
      await pointLink(current, before);
      // The service may have changed already, and the newer target may be the version that served before.
      if (signal.aborted && served && !closing) await notify(served).catch(logFailure);
      throw error;
    }
    served = next;
    return next.version.version;
  }

  async function notify(change: Change, signal?: AbortSignal): Promise<void> {
    if (onChange === undefined) return;
    await writeFile(notifiedFile, ''); // until the call returns, the service's version is unknown
    await send(onChange, change, signal);
    await writeFile(notifiedFile, change.version.manifest_digest);
  }

  function logFailure(err: unknown): void {
    (options.log ?? consoleLog).error({ err }, 'the service could not be notified that the link was restored');
  }
}

/** A version that `current` may point at, and its folder. */
interface Change {
  version: VersionInfo;
  to: string;
}

/** @throws {Error} for an exit code other than 0, or a response status other than 2xx */
async function send(onChange: string, { version: info, to: folder }: Change, signal?: AbortSignal): Promise<void> {
  const { model, version, manifest_digest } = info;
  if (/^https?:\/\//.test(onChange)) {
    const body = JSON.stringify({ model, version, manifest_digest, folder });
    const headers = { 'Content-Type': 'application/json' };
    const response = await fetch(onChange, { method: 'POST', body, headers, signal: signal ?? null });
    await response.body?.cancel();
    if (!response.ok) throw new Error(`${onChange} answered ${response.status}`);
    return;
  }
  const env = { ...process.env, SIGNALBOX_MODEL: model, SIGNALBOX_VERSION: version, SIGNALBOX_FOLDER: folder };
  const child = spawn('sh', ['-c', onChange], { env, signal, stdio: ['ignore', 'inherit', 'inherit'] });
  const [code, killed] = await once(child, 'exit');
  if (code !== 0) throw new Error(`"${onChange}" ended with ${code ?? killed}`);
}
