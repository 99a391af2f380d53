import { execFile } from 'node:child_process';
import type { Stats } from 'node:fs';
import { readdir, readFile, stat } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { promisify } from 'node:util';
import { delay } from './time.ts';

const TERMINATE_MS = 10_000;
const KILL_MS = 5_000;
const CONFIG_OPTION = '--config';

/** The command line of every embedded server ends like this, and this is how its orphan is known. */
export function serverArguments(configPath: string): string[] {
  return [CONFIG_OPTION, configPath];
}

/**
 * Ends every process that runs our configuration file, and answers with their ids.
 *
 * nats-server takes no lock on its store, and two on one store both acknowledge writes of which one side's are lost; a Node
 * that was killed leaves its server behind. A recorded process id could be missing (killed between fork and record) or
 * belong to somebody else by now; command lines tell the truth. Call it only while holding the folder's lock: then no
 * living signalbox owns what is found here.
 */
export async function stopOrphans(configPath: string): Promise<number[]> {
  const found = await serversOf(configPath);
  if (found.length === 0) return found;
  signal(found, 'SIGTERM');
  if (await allGone(configPath, TERMINATE_MS)) return found;
  signal(await serversOf(configPath), 'SIGKILL');
  if (await allGone(configPath, KILL_MS)) return found;
  const left = await serversOf(configPath);
  throw new Error(
    `An earlier nats-server (process ${left.join(', ')}) still uses this store and does not end. End it first.`,
  );
}

/** The ids of the living processes that run this configuration file. Wrapper scripts count: the end of the line is compared. */
export async function serversOf(configPath: string): Promise<number[]> {
  const processes = process.platform === 'linux' ? await fromProc(configPath) : await fromPs(configPath);
  return processes.filter((pid) => pid !== process.pid);
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
  if (option !== CONFIG_OPTION || !path) return false;
  if (path === configPath) return true;
  if (basename(path) !== basename(configPath)) return false;
  const works = await stat(`/proc/${pid}/cwd`).catch(() => undefined);
  return works !== undefined && works.dev === folder.dev && works.ino === folder.ino;
}

async function fromPs(configPath: string): Promise<number[]> {
  const [command, args] =
    process.platform === 'win32'
      ? (['powershell', ['-NoProfile', '-Command', WINDOWS_PROCESSES]] as const)
      : (['ps', ['-axwwo', 'pid=,command=']] as const);
  const options = { maxBuffer: 32 * 1024 * 1024, timeout: 30_000, windowsHide: true };
  const { stdout } = await promisify(execFile)(command, [...args], options);
  return stdout
    .split('\n')
    .map((line) => /^\s*(\d+)\s+(.*?)\s*$/.exec(line))
    .filter((match) => match?.[2]?.replaceAll('"', '').endsWith(` ${serverArguments(configPath).join(' ')}`))
    .map((match) => Number(match?.[1]));
}

const WINDOWS_PROCESSES = `Get-CimInstance Win32_Process | ForEach-Object { "$($_.ProcessId) $($_.CommandLine)" }`;

function signal(pids: number[], name: 'SIGTERM' | 'SIGKILL'): void {
  for (const pid of pids) {
    try {
      process.kill(pid, name);
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === 'ESRCH') continue;
      throw new Error(`A nats-server of another user (process ${pid}) uses this store. End it first.`, { cause });
    }
  }
}

async function allGone(configPath: string, withinMs: number): Promise<boolean> {
  const deadline = Date.now() + withinMs;
  while ((await serversOf(configPath)).length > 0) {
    if (Date.now() > deadline) return false;
    await delay(50);
  }
  return true;
}
