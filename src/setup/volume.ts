import { link, mkdtemp, rm, stat, statfs, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { DISK_RESERVE_BYTES } from '../artifacts/stores/volume.ts';
import { isErrno } from '../files/errno.ts';
import { reasonOf } from '../files/system-error.ts';
import { type Check, ok, warning, wrong } from './check.ts';

const MB = 1024 * 1024;

/** Whether the volume, or where it will be made, can be written and linked in, and has room. */
export async function checkVolume(volume: string): Promise<Check[]> {
  const folder = await nearestFolder(volume);
  if (folder === null) {
    return [
      wrong('volume', `${volume} is no folder, or cannot be reached.`, 'Name another folder as REGISTRY_VOLUME.'),
    ];
  }
  let trial: string;
  const { uid } = await stat(folder);
  try {
    // Only a trial tells what a file system can do.
    trial = await mkdtemp(join(folder, '.signalbox-trial-'));
  } catch (error) {
    const detail = `${folder}, of user ${uid}, cannot be written: ${reasonOf(error)}.`;
    return [wrong('volume', detail, 'Give it to the user that runs Signalbox (chown), or mount it writable.')];
  }
  const found = ok('volume', folder === volume ? `${volume}, of user ${uid}` : `${volume} will be made`);
  try {
    return [found, await checkLinks(trial), await checkRoom(folder)];
  } finally {
    await rm(trial, { recursive: true, force: true });
  }
}

/** The folder itself or the nearest above it that is there; null where that is no folder or cannot be reached. */
export async function nearestFolder(path: string): Promise<string | null> {
  try {
    return (await stat(path)).isDirectory() ? path : null;
  } catch (error) {
    return isErrno(error, 'ENOENT') ? nearestFolder(dirname(path)) : null;
  }
}

async function checkLinks(trial: string): Promise<Check> {
  const file = join(trial, 'file');
  try {
    await writeFile(file, 'x');
    await symlink('file', join(trial, 'symbolic'));
  } catch (error) {
    const remedy = 'Put it on a file system with links: active/ and latest are such.';
    return wrong('links', `Files and links cannot be made in ${dirname(trial)}: ${reasonOf(error)}.`, remedy);
  }
  try {
    await link(file, join(trial, 'hard'));
    return ok('links', 'symbolic and hard links work');
  } catch {
    const remedy = 'Put it on a file system that has hard links, or leave it: versions take twice the space.';
    return warning('links', `${dirname(trial)} has no hard links, so that files are copied.`, remedy);
  }
}

async function checkRoom(folder: string): Promise<Check> {
  const { bavail, bsize } = await statfs(folder);
  const free = `${Math.floor((bavail * bsize) / MB)} MiB free`;
  if (bavail * bsize > DISK_RESERVE_BYTES) return ok('space', free);
  return wrong('space', free, `Make room: uploads stop while less than ${DISK_RESERVE_BYTES / MB} MiB are left.`);
}
