import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readFile, readlink, realpath, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { pointLink } from '../files/link.ts';
import type { VersionInfo } from './bundle.ts';
import { type Loader, type LoaderOptions, startLoader } from './loader.ts';
import { consoleLog } from './log.ts';
import { pythonRuntime } from './python-runtime.ts';

export interface AgentOptions extends Pick<LoaderOptions<string>, 'model' | 'environment' | 'volume' | 'log'> {
  /** Where `current` is kept. */
  folder: string;
  /** The interpreter of the service, whose packages must fit. */
  python?: string | undefined;
  /** A command for `sh`, or a URL to POST to, when `current` has changed. */
  onChange?: string | undefined;
}

/**
 * Keeps `current` in a folder at the active version, for a service that cannot be changed: a loader whose model is a link.
 * If the service cannot be told, the link goes back to where it was, and it is tried again.
 */
export async function startAgent({ folder, python, onChange, ...options }: AgentOptions): Promise<Loader<string>> {
  await mkdir(folder, { recursive: true, mode: 0o755 });
  const home = await realpath(folder); // as the cache has it: the link is relative to it
  const current = join(home, 'current');
  const own = join(home, '.signalbox');
  const told = join(own, 'told');
  // One at a time, whatever has overtaken what: else an older one might put its link back over a newer.
  let turn: Promise<unknown> = Promise.resolve();
  let shown: Change | null = null;
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
      if ((await readFile(told, 'utf8').catch(() => '')) !== next.version.manifest_digest) await tell(next, signal);
      signal.throwIfAborted();
    } catch (error) {
      await pointLink(current, before);
      // The service may have changed already, and who overtook this may be content with what served before.
      if (signal.aborted && shown && !closing) await tell(shown).catch(unheard);
      throw error;
    }
    shown = next;
    return next.version.version;
  }

  async function tell(change: Change, signal?: AbortSignal): Promise<void> {
    if (onChange === undefined) return;
    await writeFile(told, ''); // until it is done, nobody knows what the service has heard
    await send(onChange, change, signal);
    await writeFile(told, change.version.manifest_digest);
  }

  function unheard(err: unknown): void {
    (options.log ?? consoleLog).error({ err }, 'the service could not be told that the link is back');
  }
}

/** A version that `current` may point at, and its folder. */
interface Change {
  version: VersionInfo;
  to: string;
}

/** @throws {Error} for an exit code other than 0, or an answer that is no success */
async function send(whom: string, { version: info, to: folder }: Change, signal?: AbortSignal): Promise<void> {
  const { model, version, manifest_digest } = info;
  if (/^https?:\/\//.test(whom)) {
    const body = JSON.stringify({ model, version, manifest_digest, folder });
    const headers = { 'Content-Type': 'application/json' };
    const response = await fetch(whom, { method: 'POST', body, headers, signal: signal ?? null });
    await response.body?.cancel();
    if (!response.ok) throw new Error(`${whom} answered ${response.status}`);
    return;
  }
  const env = { ...process.env, SIGNALBOX_MODEL: model, SIGNALBOX_VERSION: version, SIGNALBOX_FOLDER: folder };
  const child = spawn('sh', ['-c', whom], { env, signal, stdio: ['ignore', 'inherit', 'inherit'] });
  const [code, killed] = await once(child, 'exit');
  if (code !== 0) throw new Error(`"${whom}" ended with ${code ?? killed}`);
}
