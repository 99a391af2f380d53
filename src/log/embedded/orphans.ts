import { execFile } from 'node:child_process';
import type { Stats } from 'node:fs';
import { readdir, readFile, stat } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

const EXIT_TIMEOUT_MS = 10_000;

/** The end of the command line of every embedded server, which identifies an orphan. */
export const serverArguments = (configPath: string): string[] => ['--config', configPath];

/**
 * Terminates every process that runs our configuration file. Returns their process ids.
 *
 * A Node process that is killed leaves its nats-server running, and nats-server does not lock its store. Two servers on one
 * store both acknowledge writes, and those of one of them are lost. A recorded process id would not be reliable: it could
 * be missing (killed between fork and record) or reused by another process. The command line is reliable. The caller must
 * hold the volume's lock, so that no running signalbox owns these processes.
 *
 * @throws {Error} if a process does not exit
 */
export async function stopOrphans(configPath: string): Promise<number[]> {
  const found = await serversOf(configPath);
  let left = found;
  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    for (const pid of left) kill(pid, signal);
    const deadline = Date.now() + EXIT_TIMEOUT_MS;
    while (left.length > 0 && Date.now() < deadline) {
      await sleep(50);
      left = await serversOf(configPath);
    }
  }
  if (left.length === 0) return found;
  throw new Error(
    `An earlier nats-server (process ${left.join(', ')}) uses this store and does not exit. Terminate it, then retry.`,
  );
}

/** Ignores errors: the caller checks which processes are left. */
function kill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {}
}

/** Returns the ids of the processes that run this configuration file, including wrapper scripts. */
export async function serversOf(configPath: string): Promise<number[]> {
  return process.platform === 'linux' ? fromProc(configPath) : fromPs(configPath);
}

async function fromProc(configPath: string): Promise<number[]> {
  const folder = await stat(dirname(configPath));
  const pids = (await readdir('/proc')).map(Number).filter(Number.isInteger);
  const ours = await Promise.all(pids.map((pid) => runsHere(pid, configPath, folder)));
  return pids.filter((_, index) => ours[index]);
}

/** Compares the path; if it differs, the folder may have been renamed, so compares the process's working folder. */
async function runsHere(pid: number, configPath: string, folder: Stats): Promise<boolean> {
  // Each argument ends with NUL. The command line of a zombie is empty, so it does not match.
  const args = (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).split('\0').slice(0, -1);
  const [option, path] = args.slice(-2);
  if (option !== '--config' || !path) return false;
  if (path === configPath) return true;
  if (basename(path) !== basename(configPath)) return false;
  const cwd = await stat(`/proc/${pid}/cwd`).catch(() => undefined);
  return cwd !== undefined && cwd.dev === folder.dev && cwd.ino === folder.ino;
}

async function fromPs(configPath: string): Promise<number[]> {
  const { stdout } = await promisify(execFile)('ps', ['-axwwo', 'pid=,command='], { maxBuffer: 32 * 1024 * 1024 });
  const ending = ` ${serverArguments(configPath).join(' ')}`;
  const ours = stdout.split('\n').filter((line) => line.trimEnd().endsWith(ending));
  return ours.map((line) => Number.parseInt(line, 10));
}
