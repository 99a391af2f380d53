import { mkdir, open, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { packTar, type TarHeader } from 'modern-tar';
import type { SigningKey } from '../../src/access/signing-key.ts';
import { packBundle } from '../../src/bundle/pack.ts';
import { type Statement, signStatement } from '../../src/bundle/statement.ts';
import { type Bundle, openBundle } from '../../src/bundle/unpack.ts';
import { describeFolder } from '../../src/files/describe.ts';
import { temporaryFolder } from '../support/folder.ts';

export const KEY: SigningKey = { id: '0123456789ab', secret: Buffer.alloc(32, 7) };
export const NOW = new Date('2026-03-03T14:05:00Z');
export const FILES = { 'a/empty.txt': '', 'a/same.txt': 'two', 'model.bin': 'one'.repeat(400), 'same.txt': 'two' };

const DAYS = 24 * 3600_000;

export async function folderOf(files: Record<string, string | Uint8Array> = FILES): Promise<string> {
  const folder = await temporaryFolder();
  for (const [path, bytes] of Object.entries(files)) {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), bytes);
  }
  return folder;
}

export async function statementOf(folder: string, more: Partial<Statement> = {}): Promise<Statement> {
  return {
    format: 1,
    model: 'default',
    version: '1.0.0',
    manifest: await describeFolder(folder),
    notes: null,
    activate: null,
    created_at: NOW.toISOString(),
    expires_at: new Date(NOW.getTime() + 30 * DAYS).toISOString(),
    nonce: 'AAAAAAAAAAAAAAAAAAAAAA',
    ...more,
  };
}

/** Packs a bundle of these files. */
export async function bundleOf(files: Record<string, string | Uint8Array> = FILES, more: Partial<Statement> = {}) {
  const folder = await folderOf(files);
  const statement = await statementOf(folder, more);
  const path = join(await temporaryFolder(), 'bundle.tar');
  await packBundle(path, folder, statement, KEY);
  return { path, folder, statement };
}

/** A file in an archive: its header and, unless it is empty, its bytes. */
export type Part = { header: TarHeader; data?: Uint8Array };

export function fileOf(name: string, bytes: string | Uint8Array, more: Partial<TarHeader> = {}): Part {
  const data = Buffer.from(bytes);
  return { header: { name, size: data.length, mtime: new Date(0), ...more }, data };
}

/** The statement's own entry, signed. */
export async function signedPart(statement: Statement): Promise<Part> {
  return fileOf('bundle.jws', await signStatement(statement, KEY));
}

export async function archiveOf(parts: Part[]): Promise<Buffer> {
  return Buffer.from(await packTar(parts.map(({ header, data }) => ({ header, body: data ?? null }))));
}

/** Opens an archive of these bytes. */
export async function opened(bytes: Uint8Array, key = KEY, now = NOW): Promise<Statement> {
  const path = join(await temporaryFolder(), 'bundle.tar');
  await writeFile(path, bytes);
  return using(path, async ({ statement }) => statement, key, now);
}

export async function using<T>(path: string, use: (bundle: Bundle) => Promise<T>, key = KEY, now = NOW): Promise<T> {
  const file = await open(path);
  try {
    return await use(await openBundle(file, key, now));
  } finally {
    await file.close();
  }
}
