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
  it('is opened as it was packed, each blob once, in the order of the manifest', async () => {
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

  it('is passed over where its blobs are not wanted', async () => {
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

  it('is the same to the byte when the same is packed', async () => {
    const { path, folder, statement } = await bundleOf();
    const first = await readFile(path);
    await packBundle(path, folder, statement, KEY);
    expect((await readFile(path)).equals(first)).toBe(true);
    expect(await readdir(dirname(path))).toEqual(['bundle.tar']);
  });

  it('is not left half where a file changed while it was packed', async () => {
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

  it('tells how far it is', async () => {
    const { path } = await bundleOf();
    const file = await open(path);
    onTestFinished(() => file.close());
    const progress = vi.fn();
    await openBundle(file, KEY, NOW, progress);
    expect(progress).toHaveBeenLastCalledWith(1203, 1203);
  });

  it('of more than eight gigabytes has room for their size', () => {
    const size = 9_000_000_000;
    const digest = `sha256:${'0'.repeat(64)}` as const;
    const small = archiveBytes([statementEntry(1)]);
    expect(archiveBytes([statementEntry(1), blobEntry({ path: 'a', digest, size })])).toBe(
      small + 3 * 512 + Math.ceil(size / 512) * 512,
    );
  });
});

describe('is refused', () => {
  it('with a byte of it altered, or is what it was', async () => {
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
    // The padding behind the two files, the space behind their checksums, and what base64 leaves over.
    expect(harmless).toBeLessThan(2 * (511 + 8));
  }, 120_000);

  it('cut anywhere, and with anything behind its end', async () => {
    const { path } = await bundleOf({ 'a.txt': 'a' });
    const whole = await readFile(path);
    for (let length = whole.length - 1; length >= 0; length -= 97) {
      await truncate(path, length);
      await expect(
        using(path, async () => null),
        String(length),
      ).rejects.toBeInstanceOf(BundleRefused);
    }
    await refused(Buffer.concat([whole, Buffer.alloc(512)]), 'nothing else');
    await refused(Buffer.concat([whole, whole]), 'nothing else');
    await refused(Buffer.from('no tar archive'), 'does not begin');
    await refused(Buffer.alloc(64 * 1024), 'does not begin');
  });

  const three = async () => {
    const statement = await statementOf(await folderOf({ a: 'aaa', b: 'bbb' }));
    return { statement, first: await signedPart(statement), a: blobPart('aaa'), b: blobPart('bbb') };
  };

  it.each<[string, (parts: Awaited<ReturnType<typeof three>>) => Part[], string]>([
    ['an extra file', ({ first, a, b }) => [first, a, b, fileOf('c', 'c')], 'nothing else'],
    ['an extra empty file', ({ first, a, b }) => [first, a, b, fileOf('c', '')], 'nothing else'],
    ['a missing file', ({ first, a }) => [first, a], 'nothing else'],
    ['a file twice, and one not', ({ first, a }) => [first, a, a], 'where blobs/sha256/'],
    ['a file twice', ({ first, a, b }) => [first, a, a, b], 'nothing else'],
    ['files in another order', ({ first, a, b }) => [first, b, a], 'where blobs/sha256/'],
    ['the statement last', ({ first, a, b }) => [a, b, first], 'where bundle.jws belongs'],
    ['two statements', ({ first, a, b }) => [first, first, a, b], 'nothing else'],
    ['other bytes', ({ first, a, b }) => [first, { ...a, data: Buffer.from('aab') }, b], 'The bytes are sha256:'],
    ['a path that leads out', ({ first, a }) => [first, a, fileOf('../../escaped', 'bbb')], 'Another file'],
    ['an absolute path', ({ first, a }) => [first, a, fileOf('/etc/passwd', 'bbb')], 'Another file'],
    [
      'other letters',
      ({ first, a }) => [first, a, fileOf(`blobs/sha256/${sha256('bbb').toUpperCase()}`, 'bbb')],
      'Another',
    ],
    ['pax records', ({ first, a }) => [first, a, blobPart('bbb', { pax: { comment: 'x' } })], 'nothing else'],
    [
      'a pax path',
      ({ first }) => [{ ...first, header: { ...first.header, pax: { path: 'bundle.jws' } } }],
      'its header',
    ],
  ])('with %s', async (_, change, why) => refused(await archiveOf(change(await three())), why));

  it.each(['symlink', 'link', 'directory', 'character-device', 'block-device', 'fifo'] as const)(
    'with a %s in place of a file',
    async (type) => {
      const statement = await statementOf(await folderOf({ a: 'aaa', e: '' }));
      const [first, e] = [await signedPart(statement), blobPart('', { type, linkname: '/etc/passwd' })];
      await refused(await archiveOf([first, blobPart('aaa'), e]), 'no plain file');
      const whole = await archiveOf([{ header: { name: 'bundle.jws', size: 0, type, linkname: 'x' } }]);
      await refused(whole, 'does not begin as one');
    },
  );

  it('with files that have more bytes than the statement says, or their header', async () => {
    const { first, a, b, statement } = await three();
    const large = Buffer.alloc(1024 * 1024);
    await refused(
      await archiveOf([first, a, { header: { ...b.header, size: large.length }, data: large }]),
      'nothing else',
    );
    // The same length to the byte: the size in the header, or in a pax record, is another one.
    await refused(
      await archiveOf([first, a, { header: { ...b.header, size: 5 }, data: Buffer.from('bbbbb') }]),
      'has 5 bytes, not 3',
    );
    const [blob, ...others] = statement.manifest.artifacts;
    const manifest = { ...statement.manifest, artifacts: [{ ...blob!, size: 1024 * 1024 }, ...others] };
    await refused(await archiveOf([await signedPart({ ...statement, manifest }), a, b]), 'nothing else');
    const lying = await archiveOf([first, a, b]);
    lying.write('77777777777', 124); // the statement's own size: eight gigabytes
    await refused(lying, 'has 8589934591 bytes');
  });

  it('with a statement of more than a mebibyte', async () => {
    const { first, a, b } = await three();
    const padded = Buffer.concat([first.data!, Buffer.alloc(1024 * 1024)]);
    await refused(await archiveOf([fileOf('bundle.jws', padded), a, b]), '');
  });

  it('by another key, or signed otherwise', async () => {
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
    await refused(await withHeader({ typ: 'JWT' }), 'statement is none');
    const none = `${Buffer.from(JSON.stringify({ ...header, alg: 'none' })).toString('base64url')}.${payload.toString('base64url')}.`;
    await refused(await archiveOf([fileOf('bundle.jws', none)]), 'signature is not valid');
  });

  it.each<[string, Partial<Statement>, string]>([
    ['after its time', { expires_at: '2026-03-03T14:04:59.000Z' }, 'good until'],
    ['long before its time', { created_at: '2026-03-05T00:00:00.000Z' }, 'it is of 2026-03-05'],
    ['good for ever', { expires_at: '2027-01-01T00:00:00.000Z' }, 'more than 30 days'],
    ['of another format', { format: 2 as 1 }, 'format'],
    ['for a name that is none', { model: '../x' }, 'model'],
    ['with a nonce that is none', { nonce: 'a b' }, 'nonce'],
    ['with more in it', { more: true } as Partial<Statement>, 'more'],
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
