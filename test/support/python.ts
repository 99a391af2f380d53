import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { access, mkdir, mkdtemp, readFile, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { userCacheFolder } from '../../src/files/cache-folder.ts';

const INSTALL_TIMEOUT_MS = 15 * 60_000;
/** The oldest version that the pinned packages support. */
const OLDEST: [number, number] = [3, 11];
const NEEDED = `some tests need python3 ${OLDEST.join('.')} or newer with its venv module`;

/**
 * Returns the interpreter of a virtual environment with the packages of a requirements file. The environment is created
 * once, in the user's cache folder, and moved there when it is complete. Of two concurrent ones, the second is discarded.
 */
export async function pythonWith(requirements: string): Promise<string> {
  const version = await pythonVersion();
  const hash = createHash('sha256')
    .update(version)
    .update(await readFile(requirements));
  const folder = join(userCacheFolder(process.env), 'signalbox', `python-${hash.digest('hex').slice(0, 16)}`);
  const python = join(folder, 'bin', 'python');
  if (!(await exists(python))) await make(folder, requirements);
  return python;
}

async function make(folder: string, requirements: string): Promise<void> {
  await mkdir(dirname(folder), { recursive: true });
  const fresh = await mkdtemp(join(dirname(folder), '.python-'));
  try {
    await run('python3', ['-m', 'venv', fresh]).catch((cause: Error) => {
      throw new Error(`${NEEDED}: ${cause.message}`, { cause });
    });
    const pip = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '-r', requirements];
    await run(join(fresh, 'bin', 'python'), pip);
    await rename(fresh, folder).catch(async (error: unknown) => {
      if (!(await exists(join(folder, 'bin', 'python')))) throw error;
    });
  } finally {
    await rm(fresh, { recursive: true, force: true });
  }
}

async function pythonVersion(): Promise<string> {
  const { stdout } = await run('python3', ['--version']).catch((cause: Error) => {
    throw new Error(`${NEEDED}: ${cause.message}`, { cause });
  });
  const [, major, minor] = /^Python (\d+)\.(\d+)/.exec(stdout) ?? [];
  const enough = Number(major) === OLDEST[0] && Number(minor) >= OLDEST[1];
  if (!enough) throw new Error(`${NEEDED}; this is ${stdout.trim()}`);
  return stdout.trim();
}

function run(program: string, args: string[]) {
  return promisify(execFile)(program, args, { timeout: INSTALL_TIMEOUT_MS, maxBuffer: 16 * 1024 * 1024 });
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
