import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readFile, readlink, writeFile } from 'node:fs/promises';
import { join, relative, resolve } from 'node:path';
import { pointLink } from '../artifacts/link.ts';
import type { VersionInfo } from './bundle.ts';
import { type Loader, type LoaderOptions, startLoader } from './loader.ts';
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
  const current = join(resolve(folder), 'current');
  const own = join(resolve(folder), '.signalbox');
  await mkdir(own, { recursive: true });
  const told = join(own, 'told');
  // One at a time, whatever has overtaken what: else an older one might put its link back over a newer.
  let turn: Promise<unknown> = Promise.resolve();

  return startLoader<string>({
    ...options,
    cacheDir: own,
    runtime: python === undefined ? async () => ({}) : pythonRuntime(python),
    hydrate(version, files, signal) {
      const mine = turn.then(() => change(version, files.folder, signal));
      turn = mine.catch(() => {});
      return mine;
    },
  });

  async function change(version: VersionInfo, to: string, signal: AbortSignal): Promise<string> {
    signal.throwIfAborted();
    const before = await readlink(current).catch(() => null);
    await pointLink(current, relative(resolve(folder), to));
    try {
      if (onChange !== undefined && (await readFile(told, 'utf8').catch(() => '')) !== version.manifest_digest) {
        await tell(onChange, version, to, signal);
        await writeFile(told, version.manifest_digest);
      }
    } catch (error) {
      await pointLink(current, before);
      throw error;
    }
    return version.version;
  }
}

/** @throws {Error} for an exit code other than 0, or an answer that is no success */
async function tell(
  whom: string,
  { model, version, manifest_digest }: VersionInfo,
  folder: string,
  signal: AbortSignal,
) {
  if (/^https?:\/\//.test(whom)) {
    const body = JSON.stringify({ model, version, manifest_digest, folder });
    const headers = { 'Content-Type': 'application/json' };
    const response = await fetch(whom, { method: 'POST', body, headers, signal });
    await response.body?.cancel();
    if (!response.ok) throw new Error(`${whom} answered ${response.status}`);
    return;
  }
  const env = { ...process.env, SIGNALBOX_MODEL: model, SIGNALBOX_VERSION: version, SIGNALBOX_FOLDER: folder };
  const child = spawn('sh', ['-c', whom], { env, signal, stdio: ['ignore', 'inherit', 'inherit'] });
  const [code, killed] = await once(child, 'exit');
  if (code !== 0) throw new Error(`"${whom}" ended with ${code ?? killed}`);
}
