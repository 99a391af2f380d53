import { spawnSync } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { temporaryFolder } from '../support/folder.ts';

/** Whether this user can mount a small disk. */
export const canMount =
  process.platform === 'linux' &&
  process.getuid?.() === 0 &&
  spawnSync('unshare', ['-m', 'mount', '-t', 'tmpfs', 'none', '/mnt']).status === 0;

/** Mounts a disk with a limit of kilobytes and files until the test ends. */
export async function smallDisk(kilobytes: number, files = 1000): Promise<string> {
  const disk = join(await temporaryFolder(), 'disk');
  await mkdir(disk);
  run('mount', '-t', 'tmpfs', '-o', `mode=700,size=${kilobytes}k,nr_inodes=${files}`, 'none', disk);
  onTestFinished(() => run('umount', '-l', disk));
  return disk;
}

function run(command: string, ...args: string[]): void {
  const { status, stderr } = spawnSync(command, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${command}: ${stderr}`);
}
