import { createHash } from 'node:crypto';
import { open, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { CompactSign } from 'jose';
import type { TarHeader } from 'modern-tar';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { archiveBytes, blobEntry, statementEntry } from '../../src/bundle/layout.ts';
import { packBundle } from '../../src/bundle/pack.ts';
import { BundleRefused } from '../../src/bundle/refused.ts';
import type { Statement } from '../../src/bundle/statement.ts';
import { blobsOf, openBundle } from '../../src/bundle/unpack.ts';
import {
  archiveOf,
  bundleOf,
  FILES,
  fileOf,
  folderOf,
  KEY,
  NOW,
  opened,
  type Part,
  signedPart,
  statementOf,
  using,
} from './support.ts';

const sha256 = (bytes: Uint8Array | string) => createHash('sha256').update(bytes).digest('hex');
const blobPart = (bytes: string, more: Partial<TarHeader> = {}) => fileOf(`blobs/sha256/${sha256(bytes)}`, bytes, more);

async function refused(bytes: Uint8Array, why: string, key = KEY, now = NOW): Promise<void> {
  const failure = await opened(bytes, key, now).catch((error: unknown) => error);
  expect(failure).toBeInstanceOf(BundleRefused);
  expect((failure as Error).message).toContain(why);
}

async function textOf(bytes: AsyncIterable<Uint8Array>): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of bytes) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

describe('a bundle', () => {
  it('has each blob once, in the order of the manifest', async () => {
    const activate = { environment: 'production', reason: 'ordered' };
    const { path, statement } = await bundleOf(FILES, { activate, notes: 'tried offline' });
    await using(path, async (bundle) => {
      expect(bundle.statement).toEqual(statement);
      const found: [string, string][] = [];
      for await (const { blob, bytes } of blobsOf(bundle)) {
        found.push([blob.digest, await textOf(bytes)]);
      }
      expect(found).toEqual(['', 'two', 'one'.repeat(400)].map((text) => [`sha256:${sha256(text)}`, text]));
    });
  });

  it('skips the bytes of blobs that are not read', async () => {
    const large = Buffer.alloc(3 * 1024 * 1024, 'x');
    const { path } = await bundleOf({ 'a.bin': large, 'b.bin': 'b', 'c.bin': Buffer.alloc(2 * 1024 * 1024, 'y') });
    await using(path, async (bundle) => {
      const names: string[] = [];
      for await (const { blob } of blobsOf(bundle)) names.push(blob.path);
      expect(names).toEqual(['a.bin', 'b.bin', 'c.bin']);
      for await (const { bytes } of blobsOf(bundle)) {
        for await (const chunk of bytes) expect(chunk.length).toBeGreaterThan(0);
        break;
      }
    });
  });

  it('has the same bytes when the same version is packed again', async () => {
    const { path, folder, statement } = await bundleOf();
    const first = await readFile(path);
    await packBundle(path, folder, statement, KEY);
    expect((await readFile(path)).equals(first)).toBe(true);
    expect(await readdir(dirname(path))).toEqual(['bundle.tar']);
  });

  it('is not written if a file changes while it is packed', async () => {
    const { path, folder, statement } = await bundleOf();
    await rm(path);
    await writeFile(join(folder, 'same.txt'), 'owt');
    await writeFile(join(folder, 'a/same.txt'), 'owt');
    await expect(packBundle(path, folder, statement, KEY)).rejects.toMatchObject({ code: 'checksum-mismatch' });
    await writeFile(join(folder, 'same.txt'), 'longer');
    await expect(packBundle(path, folder, statement, KEY)).rejects.toMatchObject({ code: 'checksum-mismatch' });
    await rm(join(folder, 'same.txt'));
    await expect(packBundle(path, folder, statement, KEY)).rejects.toMatchObject({ code: 'ENOENT' });
    await expect(packBundle(join(path, 'nowhere'), folder, statement, KEY)).rejects.toMatchObject({ code: 'ENOENT' });
    expect(await readdir(dirname(path))).toEqual([]);
  });

  it('reports progress', async () => {
    const { path } = await bundleOf();
    const file = await open(path);
    onTestFinished(() => file.close());
    const progress = vi.fn();
    await openBundle(file, KEY, NOW, progress);
    expect(progress).toHaveBeenLastCalledWith(1203, 1203);
  });

  it('has a pax record for a file of more than eight gigabytes', () => {
    const size = 9_000_000_000;
    const digest = `sha256:${'0'.repeat(64)}` as const;
    const small = archiveBytes([statementEntry(1)]);
    expect(archiveBytes([statementEntry(1), blobEntry({ path: 'a', digest, size })])).toBe(
      small + 3 * 512 + Math.ceil(size / 512) * 512,
    );
  });
});

describe('a bundle is refused', () => {
  it('with an altered byte, unless the byte is padding', async () => {
    const { path, statement } = await bundleOf({ 'a.txt': 'a' });
    const whole = await readFile(path);
    const file = await open(path, 'r+');
    onTestFinished(() => file.close());
    let harmless = 0;
    for (const [i, byte] of whole.entries()) {
      await file.write(Buffer.of(byte ^ 0x01), 0, 1, i);
      const outcome = await openBundle(file, KEY, NOW).catch((error: unknown) => error);
      await file.write(Buffer.of(byte), 0, 1, i);
      if (outcome instanceof BundleRefused) continue;
      expect(outcome, `byte ${i}`).toMatchObject({ statement });
      harmless++;
    }
    // The padding after the two files, the space after their checksums, and the unused bits of base64.
    expect(harmless).toBeLessThan(2 * (511 + 8));
  }, 120_000);

  it('if it is cut, or has bytes after its end', async () => {
    const { path } = await bundleOf({ 'a.txt': 'a' });
    const whole = await readFile(path);
    for (let length = whole.length - 1; length >= 0; length -= 97) {
      await truncate(path, length);
      await expect(
        using(path, async () => null),
        String(length),
      ).rejects.toBeInstanceOf(BundleRefused);
    }
    await refused(Buffer.concat([whole, Buffer.alloc(512)]), 'its statement describes');
    await refused(Buffer.concat([whole, whole]), 'its statement describes');
    await refused(Buffer.from('not a tar archive'), 'has no statement');
    await refused(Buffer.alloc(64 * 1024), 'has no statement');
  });

  const three = async () => {
    const statement = await statementOf(await folderOf({ a: 'aaa', b: 'bbb' }));
    return { statement, first: await signedPart(statement), a: blobPart('aaa'), b: blobPart('bbb') };
  };

  it.each<[string, (parts: Awaited<ReturnType<typeof three>>) => Part[], string]>([
    ['an extra file', ({ first, a, b }) => [first, a, b, fileOf('c', 'c')], 'its statement describes'],
    ['an extra empty file', ({ first, a, b }) => [first, a, b, fileOf('c', '')], 'its statement describes'],
    ['a missing file', ({ first, a }) => [first, a], 'its statement describes'],
    ['a file twice and another missing', ({ first, a }) => [first, a, a], 'in the place of blobs/sha256/'],
    ['a file twice', ({ first, a, b }) => [first, a, a, b], 'its statement describes'],
    ['files in another order', ({ first, a, b }) => [first, b, a], 'in the place of blobs/sha256/'],
    ['the statement last', ({ first, a, b }) => [a, b, first], 'in the place of bundle.jws'],
    ['two statements', ({ first, a, b }) => [first, first, a, b], 'its statement describes'],
    ['other bytes', ({ first, a, b }) => [first, { ...a, data: Buffer.from('aab') }, b], 'The bytes are sha256:'],
    ['a path that leads out', ({ first, a }) => [first, a, fileOf('../../escaped', 'bbb')], 'another file'],
    ['an absolute path', ({ first, a }) => [first, a, fileOf('/etc/passwd', 'bbb')], 'another file'],
    [
      'other letters',
      ({ first, a }) => [first, a, fileOf(`blobs/sha256/${sha256('bbb').toUpperCase()}`, 'bbb')],
      'another file',
    ],
    [
      'pax records',
      ({ first, a }) => [first, a, blobPart('bbb', { pax: { comment: 'x' } })],
      'its statement describes',
    ],
    [
      'a pax path',
      ({ first }) => [{ ...first, header: { ...first.header, pax: { path: 'bundle.jws' } } }],
      'The header of',
    ],
  ])('with %s', async (_, change, why) => refused(await archiveOf(change(await three())), why));

  it.each(['symlink', 'link', 'directory', 'character-device', 'block-device', 'fifo'] as const)(
    'with a %s in place of a file',
    async (type) => {
      const statement = await statementOf(await folderOf({ a: 'aaa', e: '' }));
      const [first, e] = [await signedPart(statement), blobPart('', { type, linkname: '/etc/passwd' })];
      await refused(await archiveOf([first, blobPart('aaa'), e]), 'not a regular file');
      const whole = await archiveOf([{ header: { name: 'bundle.jws', size: 0, type, linkname: 'x' } }]);
      await refused(whole, 'has no statement');
    },
  );

  it('with a file that is larger than its statement or header says', async () => {
    const { first, a, b, statement } = await three();
    const large = Buffer.alloc(1024 * 1024);
    await refused(
      await archiveOf([first, a, { header: { ...b.header, size: large.length }, data: large }]),
      'its statement describes',
    );
    // The same total length, but another size in the header.
    await refused(
      await archiveOf([first, a, { header: { ...b.header, size: 5 }, data: Buffer.from('bbbbb') }]),
      'has 5 bytes, not 3',
    );
    const [blob, ...others] = statement.manifest.artifacts;
    const manifest = { ...statement.manifest, artifacts: [{ ...blob!, size: 1024 * 1024 }, ...others] };
    await refused(await archiveOf([await signedPart({ ...statement, manifest }), a, b]), 'its statement describes');
    const lying = await archiveOf([first, a, b]);
    lying.write('77777777777', 124); // the statement's own size: eight gigabytes
    await refused(lying, 'has 8589934591 bytes');
  });

  it('with a statement of more than a mebibyte', async () => {
    const { first, a, b } = await three();
    const padded = Buffer.concat([first.data!, Buffer.alloc(1024 * 1024)]);
    await refused(await archiveOf([fileOf('bundle.jws', padded), a, b]), '');
  });

  it('with another key or another kind of signature', async () => {
    const { path, statement } = await bundleOf();
    const whole = await readFile(path);
    await refused(whole, 'another key than ffffffffffff', { ...KEY, id: 'f'.repeat(12) });
    await refused(whole, 'signature is not valid', { ...KEY, secret: Buffer.alloc(32, 8) });
    const payload = Buffer.from(JSON.stringify(statement));
    const header = { alg: 'HS256', typ: 'signalbox-bundle+jws', kid: KEY.id };
    const withHeader = async (changed: object) => {
      const jws = await new CompactSign(payload)
        .setProtectedHeader({ ...header, ...changed })
        .sign(Buffer.alloc(64, KEY.secret));
      return archiveOf([fileOf('bundle.jws', jws)]);
    };
    await refused(await withHeader({ alg: 'HS512' }), 'signature is not valid');
    await refused(await withHeader({ typ: 'JWT' }), 'not a valid statement');
    const none = `${Buffer.from(JSON.stringify({ ...header, alg: 'none' })).toString('base64url')}.${payload.toString('base64url')}.`;
    await refused(await archiveOf([fileOf('bundle.jws', none)]), 'signature is not valid');
  });

  it.each<[string, Partial<Statement>, string]>([
    ['after it expired', { expires_at: '2026-03-03T14:04:59.000Z' }, 'expired at'],
    ['long before it was created', { created_at: '2026-03-05T00:00:00.000Z' }, 'in the future: 2026-03-05'],
    ['if it is valid for too long', { expires_at: '2027-01-01T00:00:00.000Z' }, 'more than 30 days'],
    ['with another format', { format: 2 as 1 }, 'format'],
    ['with an invalid model', { model: '../x' }, 'model'],
    ['with an invalid nonce', { nonce: 'a b' }, 'nonce'],
    ['with an unknown field', { more: true } as Partial<Statement>, 'more'],
  ])('%s', async (_, more, why) => {
    const statement = { ...(await statementOf(await folderOf({ a: 'aaa' }))), ...more };
    await refused(await archiveOf([await signedPart(statement), blobPart('aaa')]), why);
  });

  it('with two sizes for the same bytes', async () => {
    const statement = await statementOf(await folderOf({ a: 'aaa', b: 'aaa' }));
    const [a, b] = statement.manifest.artifacts;
    const manifest = { ...statement.manifest, artifacts: [{ ...a!, size: 4 }, b!] };
    await refused(await archiveOf([await signedPart({ ...statement, manifest }), blobPart('aaa')]), 'two sizes');
  });
});
