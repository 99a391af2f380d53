import { execFile } from 'node:child_process';
import type { Stats } from 'node:fs';
import { readdir, readFile, stat } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

const PATIENCE_MS = 10_000;

/** The command line of every embedded server ends like this, and this is how its orphan is known. */
export const serverArguments = (configPath: string): string[] => ['--config', configPath];

/**
 * Ends every process that runs our configuration file, and answers with their ids.
 *
 * nats-server takes no lock on its store, and two on one store both acknowledge writes of which one side's are lost; a Node
 * that was killed leaves its server behind. A recorded process id could be missing (killed between fork and record) or
 * belong to somebody else by now; command lines tell the truth. Call it only while holding the volume's lock: then no
 * living signalbox owns what is found here.
 */
export async function stopOrphans(configPath: string): Promise<number[]> {
  const found = await serversOf(configPath);
  let left = found;
  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    for (const pid of left) kill(pid, signal);
    const deadline = Date.now() + PATIENCE_MS;
    while (left.length > 0 && Date.now() < deadline) {
      await sleep(50);
      left = await serversOf(configPath);
    }
  }
  if (left.length === 0) return found;
  throw new Error(
    `An earlier nats-server (process ${left.join(', ')}) uses this store and does not end. End it first.`,
  );
}

/** One that is gone already or belongs to somebody else shows when its end is waited for. */
function kill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {}
}

/** The ids of the living processes that run this configuration file. Wrapper scripts count: the end of the line is compared. */
export async function serversOf(configPath: string): Promise<number[]> {
  return process.platform === 'linux' ? fromProc(configPath) : fromPs(configPath);
}

async function fromProc(configPath: string): Promise<number[]> {
  const folder = await stat(dirname(configPath));
  const pids = (await readdir('/proc')).map(Number).filter(Number.isInteger);
  const ours = await Promise.all(pids.map((pid) => runsHere(pid, configPath, folder)));
  return pids.filter((_, index) => ours[index]);
}

/** By the path, or, because the folder may have been renamed since, by the folder that the server works in. */
async function runsHere(pid: number, configPath: string, folder: Stats): Promise<boolean> {
  // Arguments are ended by NUL. A zombie's line is empty, so that it does not count.
  const args = (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).split('\0').slice(0, -1);
  const [option, path] = args.slice(-2);
  if (option !== '--config' || !path) return false;
  if (path === configPath) return true;
  if (basename(path) !== basename(configPath)) return false;
  const works = await stat(`/proc/${pid}/cwd`).catch(() => undefined);
  return works !== undefined && works.dev === folder.dev && works.ino === folder.ino;
}

async function fromPs(configPath: string): Promise<number[]> {
  const { stdout } = await promisify(execFile)('ps', ['-axwwo', 'pid=,command='], { maxBuffer: 32 * 1024 * 1024 });
  const ending = ` ${serverArguments(configPath).join(' ')}`;
  const ours = stdout.split('\n').filter((line) => line.trimEnd().endsWith(ending));
  return ours.map((line) => Number.parseInt(line, 10));
}
