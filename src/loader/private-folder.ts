import { lstat, mkdir, realpath } from 'node:fs/promises';
import { dirname, join } from 'node:path';

/**
 * Another user could change the files that a loader verifies and then executes. The message names the folder and a remedy.
 * @example
 * const loader = await startLoader(options).catch((error) => {
 *   if (error instanceof UnsafeCacheFolder) console.error(error.message);
 *   throw error;
 * });
 */
export class UnsafeCacheFolder extends Error {
  override readonly name = 'UnsafeCacheFolder';
}

/** A folder's attributes in the file system. */
export interface Entry {
  path: string;
  uid: number;
  gid: number;
  mode: number;
  /** Whether it is the root of a mounted file system. */
  mounted: boolean;
}

/**
 * Creates a folder and those `inside` it, if missing, with mode 0700. Returns its path without symbolic links, which
 * another user might change later.
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
  if (user === undefined) return; // Windows has no such file owners
  for (const path of [folder, ...inside.map((name) => join(folder, name))]) {
    const chain = await chainOf(await realpath(path));
    const unsafe = firstUnsafe(chain, user);
    if (unsafe) throw new UnsafeCacheFolder(refusal(folder, chain, unsafe, user));
  }
}

/** Returns the folder and its parents up to the root. */
async function chainOf(folder: string): Promise<Entry[]> {
  const chain: Entry[] = [];
  for (let path = folder; ; path = dirname(path)) {
    const [{ uid, gid, mode, dev }, above] = await Promise.all([lstat(path), lstat(dirname(path))]);
    chain.push({ path, uid, gid, mode: mode & 0o7777, mounted: dev !== above.dev || path === dirname(path) });
    if (path === dirname(path)) return chain;
  }
}

/**
 * Returns the first folder of a chain through which another user could replace a file in the first one, by the rules of
 * OpenSSH's StrictModes. Folders of root are accepted: root can do everything anyway.
 */
export function firstUnsafe(chain: readonly Entry[], user: number): Entry | undefined {
  return chain.find((entry, depth) => {
    if (entry.uid !== user && entry.uid !== 0) return true;
    return isWritableByOthers(entry) && (depth === 0 || !keepsEntries(entry));
  });
}

/** A group with the owner's number has only the owner: useradd creates one for each user, and its umask is then 002. */
function isWritableByOthers({ uid, gid, mode }: Entry): boolean {
  return (mode & 0o002) !== 0 || ((mode & 0o020) !== 0 && gid !== uid);
}

/**
 * Whether others cannot replace the entries of a folder that they can write to: it has the sticky bit, or is a volume that
 * root has mounted. Kubernetes creates an emptyDir with mode 0777 for the containers of one pod.
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
