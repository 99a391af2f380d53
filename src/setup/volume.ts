import { link, mkdtemp, rm, stat, statfs, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { DISK_RESERVE_BYTES } from '../artifacts/reserve.ts';
import { isErrno } from '../files/errno.ts';
import { reasonOf } from '../files/system-error.ts';
import { type Check, ok, warning, wrong } from './check.ts';

const MB = 1024 * 1024;

/** Checks that the volume, or the folder it will be created in, is writable, supports links and has free space. */
export async function checkVolume(volume: string): Promise<Check[]> {
  const folder = await nearestFolder(volume);
  if (folder === null) {
    return [
      wrong('volume', `${volume} is not a folder, or cannot be accessed.`, 'Set REGISTRY_VOLUME to another folder.'),
    ];
  }
  let trial: string;
  const { uid } = await stat(folder);
  try {
    // Only a trial shows what a file system supports.
    trial = await mkdtemp(join(folder, '.signalbox-trial-'));
  } catch (error) {
    const detail = `Cannot write to ${folder}, which belongs to user ${uid}: ${reasonOf(error)}.`;
    return [wrong('volume', detail, 'Make the user that runs Signalbox its owner (chown), or mount it writable.')];
  }
  const found = ok('volume', folder === volume ? `${volume}, owned by user ${uid}` : `${volume} will be created`);
  try {
    return [found, await checkLinks(trial), await checkRoom(folder)];
  } finally {
    await rm(trial, { recursive: true, force: true });
  }
}

/** Returns the path or its nearest existing parent; null if that is not a folder or cannot be accessed. */
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
    const remedy = 'Use a file system with symbolic links: active/ and latest are links.';
    return wrong('links', `Cannot create files and links in ${dirname(trial)}: ${reasonOf(error)}.`, remedy);
  }
  try {
    await link(file, join(trial, 'hard'));
    return ok('links', 'symbolic and hard links work');
  } catch {
    const remedy = 'Use a file system with hard links, or accept that versions take twice the space.';
    return warning('links', `The file system of ${dirname(trial)} has no hard links, so files are copied.`, remedy);
  }
}

async function checkRoom(folder: string): Promise<Check> {
  const { bavail, bsize } = await statfs(folder);
  const free = `${Math.floor((bavail * bsize) / MB)} MiB free`;
  if (bavail * bsize > DISK_RESERVE_BYTES) return ok('space', free);
  return wrong('space', free, `Free some space: uploads are refused below ${DISK_RESERVE_BYTES / MB} MiB.`);
}
