import { execFile } from 'node:child_process';
import { access, mkdir, mkdtemp, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { userCacheFolder } from '../../src/files/cache-folder.ts';

/** For `beforeAll` of tests that use what is installed here. */
export const INSTALL_TIMEOUT_MS = 15 * 60_000;

/**
 * Returns a folder in the user's cache that was filled once. It is filled beside its place and moved there when it is
 * complete. Of two concurrent ones, the second is discarded.
 *
 * @param name names the content with its version
 */
export async function cachedFolder(name: string, fill: (folder: string) => Promise<void>): Promise<string> {
  const parent = join(userCacheFolder(process.env), 'signalbox');
  const folder = join(parent, name);
  if (await exists(folder)) return folder;
  await mkdir(parent, { recursive: true });
  const fresh = await mkdtemp(join(parent, '.fetch-'));
  try {
    await fill(fresh);
    await rename(fresh, folder).catch(async (error: unknown) => {
      if (!(await exists(folder))) throw error;
    });
  } finally {
    await rm(fresh, { recursive: true, force: true });
  }
  return folder;
}

/** Runs a program that installs something. @throws {Error} with the last lines of its standard error, if it fails */
export async function install(program: string, args: string[], options: { cwd: string; env?: NodeJS.ProcessEnv }) {
  const limits = { timeout: INSTALL_TIMEOUT_MS, maxBuffer: 16 * 1024 * 1024 };
  await promisify(execFile)(program, args, { ...options, ...limits }).catch((cause: Error & { stderr?: string }) => {
    const lastLines = cause.stderr?.trim().split('\n').slice(-3).join(' | ');
    throw new Error(`${program} ${args[0]} failed (${lastLines || cause.message})`, { cause });
  });
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
