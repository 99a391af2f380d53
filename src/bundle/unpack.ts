import type { FileHandle } from 'node:fs/promises';
import { createTarDecoder, type ParsedTarEntry, unpackTar } from 'modern-tar';
import type { SigningKey } from '../access/signing-key.ts';
import { verified } from '../artifacts/verify.ts';
import { Problem } from '../domain/errors.ts';
import { type Artifact, distinctBlobs } from '../domain/manifest.ts';
import { archiveBytes, blobEntry, type Entry, needsPax, statementEntry } from './layout.ts';
import { BundleRefused } from './refused.ts';
import { openStatement, type Statement } from './statement.ts';

/** A verified bundle in an open file. */
export interface Bundle {
  file: FileHandle;
  statement: Statement;
  blobs: readonly Artifact[];
  /** All files of the archive, in order. */
  entries: readonly Entry[];
}

const MAX_STATEMENT_BYTES = 1024 * 1024;
const READ_BYTES = 256 * 1024;

/**
 * Verifies a bundle without unpacking it: signature, time, that the archive has exactly the files of the statement, and the
 * bytes of each. `progress` is called with the bytes read and the total.
 *
 * @throws {BundleRefused}
 */
export async function openBundle(
  file: FileHandle,
  key: SigningKey,
  now: Date,
  progress: (read: number, total: number) => void = () => {},
): Promise<Bundle> {
  const jws = await readStatement(file);
  const statement = await openStatement(jws, key, now);
  const blobs = distinctBlobs(statement.manifest.artifacts);
  const entries = [statementEntry(jws.length), ...blobs.map(blobEntry)];
  const bundle = { file, statement, blobs, entries };
  try {
    await verifyBlobs(bundle, progress);
  } catch (cause) {
    if (cause instanceof BundleRefused) throw cause;
    throw new BundleRefused(cause instanceof Problem ? cause.message : 'It is not a complete tar archive.', cause);
  }
  return bundle;
}

/** Reads the first file of the archive, and no more bytes than it may have. */
async function readStatement(file: FileHandle): Promise<Uint8Array> {
  const { size } = await file.stat();
  const start = Buffer.alloc(Math.min(size, archiveBytes([statementEntry(MAX_STATEMENT_BYTES)])));
  const { bytesRead } = await file.read(start, 0, start.length, 0);
  const [first] = await unpackTar(start.subarray(0, bytesRead)).catch((cause: unknown) => {
    throw new BundleRefused('It is not a tar archive.', cause);
  });
  const { header, data } = first ?? {};
  if (!header || !data || data.length > MAX_STATEMENT_BYTES) throw new BundleRefused('It has no statement.');
  checkEntry(header, statementEntry(data.length));
  return data;
}

async function verifyBlobs(bundle: Bundle, progress: (read: number, total: number) => void): Promise<void> {
  const total = bundle.blobs.reduce((sum, { size }) => sum + size, 0);
  let read = 0;
  for await (const { blob, bytes } of blobsOf(bundle)) {
    for await (const chunk of verified(bytes, blob.digest, blob.size)) {
      read += chunk.length;
      progress(read, total);
    }
  }
}

/**
 * Yields the blobs of a bundle in order, with their current bytes, which are not verified. Unread bytes are skipped.
 *
 * @throws {BundleRefused} if the archive contains anything else
 */
export async function* blobsOf({
  file,
  blobs,
  entries,
}: Bundle): AsyncGenerator<{ blob: Artifact; bytes: AsyncIterable<Uint8Array> }> {
  const { size } = await file.stat();
  const expected = archiveBytes(entries);
  if (size !== expected) throw new BundleRefused(`It has ${size} bytes; its statement describes ${expected}.`);
  let index = 0;
  for await (const { header, body } of decoded(file)) {
    const entry = entries[index];
    if (!entry) throw new BundleRefused('It has a file that its statement does not name.');
    checkEntry(header, entry);
    const blob = blobs[index - 1];
    const bytes = body as unknown as AsyncIterable<Uint8Array>;
    if (blob) yield { blob, bytes };
    // Reads to the end instead of canceling: modern-tar 0.8.6 then may lose the next body and wait for ever.
    for await (const _ of bytes);
    index++;
  }
  if (index < entries.length) throw new BundleRefused(`It has no ${entries[index]!.name}.`);
}

function decoded(file: FileHandle): AsyncIterable<ParsedTarEntry> {
  const entries = ReadableStream.from(bytesOf(file)).pipeThrough(createTarDecoder({ strict: true }));
  return entries as unknown as AsyncIterable<ParsedTarEntry>;
}

/** The handle's own stream would close the handle when it ends early. */
async function* bytesOf(file: FileHandle): AsyncGenerator<Uint8Array> {
  for (let position = 0; ; ) {
    const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(READ_BYTES), 0, READ_BYTES, position);
    if (bytesRead === 0) return;
    position += bytesRead;
    yield buffer.subarray(0, bytesRead);
  }
}

/** @throws {BundleRefused} unless it is a regular file of this name and size; never prints another name (escape codes) */
function checkEntry({ name, size, type, linkname, pax = {} }: ParsedTarEntry['header'], expected: Entry): void {
  if (name !== expected.name) throw new BundleRefused(`It has another file in the place of ${expected.name}.`);
  if (type !== 'file' || linkname) throw new BundleRefused(`${name} is not a regular file.`);
  if (size !== expected.size) throw new BundleRefused(`${name} has ${size} bytes, not ${expected.size}.`);
  const plain = Object.keys(pax).every((record) => record === 'size' && needsPax(expected));
  if (!plain) throw new BundleRefused(`The header of ${name} has more than a name and a size.`);
}
