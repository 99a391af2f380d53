import { lstat, mkdir, realpath } from 'node:fs/promises';
import { dirname, join } from 'node:path';

/** Another user could change what a loader verifies and then executes. */
export class UnsafeCacheFolder extends Error {
  override readonly name = 'UnsafeCacheFolder';
}

/** A folder as the file system describes it. */
export interface Entry {
  path: string;
  uid: number;
  gid: number;
  mode: number;
  /** Whether it is the root of a mounted file system. */
  mounted: boolean;
}

/**
 * Makes a folder and those `inside` it for this user alone, where they are missing. Returns its path without symbolic links,
 * which somebody else might turn later.
 *
 * @throws {UnsafeCacheFolder}
 */
export async function openPrivateFolder(path: string, inside: readonly string[]): Promise<string> {
  await mkdir(path, { recursive: true, mode: 0o700 });
  const folder = await realpath(path);
  await checkPrivateFolder(folder);
  for (const name of inside) await mkdir(join(folder, name), { recursive: true, mode: 0o700 });
  await checkPrivateFolder(folder, inside);
  return folder;
}

/** @throws {UnsafeCacheFolder} */
export async function checkPrivateFolder(folder: string, inside: readonly string[] = []): Promise<void> {
  const user = process.geteuid?.();
  if (user === undefined) return; // Windows, where files have no such owner
  for (const path of [folder, ...inside.map((name) => join(folder, name))]) {
    const chain = await chainOf(await realpath(path));
    const unsafe = firstUnsafe(chain, user);
    if (unsafe) throw new UnsafeCacheFolder(refusal(folder, chain, unsafe, user));
  }
}

/** The folder and all that it lies in, up to the root. */
async function chainOf(folder: string): Promise<Entry[]> {
  const chain: Entry[] = [];
  for (let path = folder; ; path = dirname(path)) {
    const [{ uid, gid, mode, dev }, above] = await Promise.all([lstat(path), lstat(dirname(path))]);
    chain.push({ path, uid, gid, mode: mode & 0o7777, mounted: dev !== above.dev || path === dirname(path) });
    if (path === dirname(path)) return chain;
  }
}

/**
 * The first folder of a chain through which another user could replace a file in its first one, as OpenSSH's StrictModes
 * looks for it. Root may do everything, so what is root's is as good as the user's own.
 */
export function firstUnsafe(chain: readonly Entry[], user: number): Entry | undefined {
  return chain.find((entry, depth) => {
    if (entry.uid !== user && entry.uid !== 0) return true;
    return isWritableByOthers(entry) && (depth === 0 || !keepsEntries(entry));
  });
}

/** A group with its owner's number is the owner's own, as useradd makes one for each user: with it, the umask is 002. */
function isWritableByOthers({ uid, gid, mode }: Entry): boolean {
  return (mode & 0o002) !== 0 || ((mode & 0o020) !== 0 && gid !== uid);
}

/**
 * Whether what lies in a folder that others can write to stays where it is. The sticky bit says so. A volume that root has
 * mounted is for those it was given to: Kubernetes makes an emptyDir with mode 0777 for the containers of one pod.
 */
function keepsEntries({ uid, mode, mounted }: Entry): boolean {
  return (mode & 0o1000) !== 0 || (mounted && uid === 0);
}

function refusal(folder: string, chain: readonly Entry[], unsafe: Entry, user: number): string {
  const { path, uid, gid, mode } = unsafe;
  const found = `${path} belongs to uid ${uid} and gid ${gid} with mode ${mode.toString(8).padStart(4, '0')}`;
  return (
    `Another user could change the models in the cache folder ${folder}: ${found}, ` +
    `and this process runs as uid ${user}. ${remedyFor(folder, chain, unsafe, user)}`
  );
}

function remedyFor(folder: string, chain: readonly Entry[], { path, uid }: Entry, user: number): string {
  const made = { path: join(folder, 'signalbox'), uid: user, gid: user, mode: 0o700, mounted: false };
  if (path === folder && firstUnsafe([made, ...chain], user) === undefined) {
    return `Use a folder inside it, such as ${made.path}: the loader makes it with mode 0700.`;
  }
  if (path.startsWith(join(folder, '/')) || (path === folder && uid === user)) {
    return `Delete ${folder}: the loader makes it again with mode 0700.`;
  }
  return 'Use a folder that does not exist yet, in folders that only this user or root can write to.';
}
