import { spawnSync } from 'node:child_process';
import { chmod, chown, mkdir, readlink, realpath, rm, stat, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { startLoader } from '../../src/loader/index.ts';
import { type Entry, firstUnsafe, openPrivateFolder } from '../../src/loader/private-folder.ts';
import { temporaryFolder } from '../support/folder.ts';
import { ELSEWHERE, MAIN } from '../support/program.ts';
import { canMount, smallDisk } from './disk.ts';
import { hydrate, silent } from './support.ts';

const ME = 1000;
const OTHER = 1001;

function entry(uid: number, mode: number, more: Partial<Entry> = {}): Entry {
  return { path: '/cache', uid, gid: uid, mode, mounted: false, ...more };
}

describe('a chain of folders', () => {
  const own = entry(ME, 0o700);
  it.each<[string, Entry[], boolean]>([
    ['the user’s own folder', [own], true],
    ['root’s folder, which the user may only read', [entry(0, 0o755)], true],
    ['another user’s folder, whatever its mode', [entry(OTHER, 0o755)], false],
    ['a folder writable by others', [entry(ME, 0o757)], false],
    ['a folder writable by others, with the sticky bit', [entry(ME, 0o1777)], false],
    ['a folder writable by a group', [entry(ME, 0o770, { gid: 50 })], false],
    ['a folder writable by the user’s own group', [entry(ME, 0o775)], true],
    ['a folder writable by root’s own group', [entry(0, 0o775)], true],
    ['inside another user’s folder', [own, entry(OTHER, 0o755)], false],
    ['inside another user’s folder with the sticky bit', [own, entry(OTHER, 0o1777)], false],
    ['inside a folder where others may rename it', [own, entry(0, 0o777)], false],
    ['inside a folder where a group may rename it', [own, entry(0, 0o775, { gid: 50 })], false],
    ['inside /tmp', [own, entry(0, 0o1777)], true],
    ['inside a pod’s volume', [own, entry(0, 0o777, { mounted: true })], true],
    ['inside a volume of a pod’s group', [own, entry(0, 0o2775, { mounted: true, gid: 50 })], true],
    ['a pod’s volume itself', [entry(0, 0o777, { mounted: true })], false],
    ['inside a volume that belongs to another user', [own, entry(OTHER, 0o777, { mounted: true })], false],
  ])('%s', (_, chain, safe) => {
    expect(firstUnsafe(chain, ME) === undefined).toBe(safe);
  });
});

describe('the cache folder', () => {
  const options = { dsn: 'http://127.0.0.1:1', token: 'any', log: silent, hydrate };
  const start = async (cacheDir: string) => (await startLoader({ ...options, cacheDir })).close();

  it('is created with mode 0700, whatever the umask', async () => {
    const top = join(await temporaryFolder(), 'a');
    const umask = process.umask(0);
    try {
      await start(join(top, 'cache'));
    } finally {
      process.umask(umask);
    }
    for (const name of ['', 'cache', 'cache/blobs', 'cache/blobs/sha256', 'cache/versions', 'cache/last-good']) {
      expect((await stat(join(top, name))).mode & 0o777, name).toBe(0o700);
    }
  });

  it('is refused at the start if others can write to it or to a folder inside', async () => {
    const folder = await realpath(await temporaryFolder());
    const cache = join(folder, 'cache');
    await start(cache);
    for (const name of ['versions', 'blobs', 'last-good', '.']) {
      const open = join(cache, name);
      await chmod(open, 0o777);
      await expect(start(cache)).rejects.toMatchObject({
        name: 'UnsafeCacheFolder',
        message: expect.stringContaining(`${open} belongs to uid ${process.geteuid?.()} and gid`),
      });
      await expect(start(cache)).rejects.toThrow(`with mode 0777, and this process runs as uid`);
      await expect(start(cache)).rejects.toThrow(`Delete ${cache}: the loader makes it again with mode 0700.`);
      await chmod(open, 0o700);
    }
    await start(cache);
  });

  it('is refused if others could rename it; the message for a sticky folder names one inside', async () => {
    const folder = await realpath(await temporaryFolder());
    const cache = join(folder, 'cache');
    await chmod(folder, 0o777);
    await expect(start(cache)).rejects.toThrow(`${folder} belongs to`);
    await rm(cache, { recursive: true, force: true });
    await chmod(folder, 0o1777);
    await start(cache);
    await expect(start(folder)).rejects.toThrow(`Use a folder inside it, such as ${join(folder, 'signalbox')}`);
  });

  it('is used at its real path, not through a link that may change', async () => {
    const folder = await realpath(await temporaryFolder());
    await mkdir(join(folder, 'there'), { mode: 0o700 });
    await symlink('there', join(folder, 'link'));
    expect(await openPrivateFolder(join(folder, 'link/cache'), [])).toBe(join(folder, 'there/cache'));
    await chmod(join(folder, 'there'), 0o777);
    await expect(openPrivateFolder(join(folder, 'link/cache'), [])).rejects.toThrow(`${join(folder, 'there')} belongs`);
  });

  it('fails the agent’s start with one line', async () => {
    const dir = await realpath(await temporaryFolder());
    await mkdir(join(dir, '.signalbox'));
    await chmod(join(dir, '.signalbox'), 0o777);
    const args = [MAIN, 'agent', '-m', 'fraud', '--env', 'production', '--dir', dir];
    const env = { ...process.env, REGISTRY_DSN: 'http://127.0.0.1:1', REGISTRY_TOKEN: 'any' };
    const { status, stderr } = spawnSync(process.execPath, args, { cwd: ELSEWHERE, env, encoding: 'utf8' });
    expect(status).toBe(1);
    expect(stderr).toMatch(/^signalbox: Another user could change the models in the cache folder .*\n$/);
    await expect(readlink(join(dir, 'current'))).rejects.toThrow('ENOENT');
  });
});

describe.runIf(canMount)('the cache folder of another user', () => {
  const folderOf = async (uid: number, mode: number) => {
    const folder = join(await realpath(await temporaryFolder()), 'cache');
    await chmod(join(folder, '..'), 0o755);
    await mkdir(folder);
    await chown(folder, uid, uid);
    await chmod(folder, mode);
    return folder;
  };

  /** Opens it in a process of that user. */
  const openedBy = (uid: number, folder: string) => {
    const module = join(import.meta.dirname, '../../src/loader/private-folder.ts');
    // Imported as root, because that user may not be able to read it.
    const code = `const { openPrivateFolder } = await import(${JSON.stringify(module)});
      process.setgroups([]); process.setegid(${uid}); process.seteuid(${uid});
      await openPrivateFolder(${JSON.stringify(folder)}, ['versions']);`;
    return spawnSync(process.execPath, ['--input-type=module', '-e', code], { encoding: 'utf8' }).stderr;
  };

  it('is refused, whatever its mode', async () => {
    const folder = await folderOf(OTHER, 0o777);
    for (const mode of [0o777, 0o755, 0o700]) {
      await chmod(folder, mode);
      await expect(openPrivateFolder(folder, [])).rejects.toThrow(
        `${folder} belongs to uid ${OTHER} and gid ${OTHER} with mode ${mode.toString(8).padStart(4, '0')}, ` +
          'and this process runs as uid 0. Use a folder that does not exist yet',
      );
    }
    await chmod(folder, 0o777);
    expect(openedBy(ME, folder)).toContain(`and this process runs as uid ${ME}`);
    expect(openedBy(OTHER, await folderOf(OTHER, 0o755))).toBe('');
  });

  it('is refused below another user’s folder', async () => {
    const folder = await folderOf(OTHER, 0o755);
    await expect(openPrivateFolder(join(folder, 'mine'), [])).rejects.toThrow(`${folder} belongs to uid ${OTHER}`);
  });

  it('may be inside a pod’s volume that belongs to root and is writable by all', async () => {
    const volume = await realpath(await smallDisk(1024));
    await chmod(join(volume, '..'), 0o755);
    await chmod(volume, 0o777);
    const inside = join(volume, 'signalbox');
    expect(openedBy(ME, volume)).toContain(`Use a folder inside it, such as ${inside}: the loader makes it`);
    expect(openedBy(ME, inside)).toBe('');
    expect(await stat(inside)).toMatchObject({ uid: ME, mode: 0o40700 });
    expect(openedBy(OTHER, inside)).toContain(`${inside} belongs to uid ${ME}`);
  });
});
