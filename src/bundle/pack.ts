import { createReadStream } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { createTarPacker } from 'modern-tar';
import type { SigningKey } from '../access/signing-key.ts';
import { verified } from '../artifacts/verify.ts';
import { batches, fillWith, writeDurably } from '../artifacts/write.ts';
import { distinctBlobs } from '../domain/manifest.ts';
import { blobEntry, type Entry, statementEntry } from './layout.ts';
import { type Statement, signStatement } from './statement.ts';

type Controller = ReturnType<typeof createTarPacker>['controller'];

/**
 * Writes a bundle to `path` atomically. Its blobs are the files of `folder` that the manifest lists.
 *
 * @throws {Problem} checksum-mismatch if a file differs from the manifest
 */
export async function packBundle(path: string, folder: string, statement: Statement, key: SigningKey): Promise<void> {
  const jws = await signStatement(statement, key);
  const { readable, controller } = createTarPacker();
  const packing = pack(controller, jws, folder, statement).catch((error) => controller.error(error));
  const unfinished = `${path}.unfinished`;
  await rm(unfinished, { force: true });
  try {
    await writeDurably(unfinished, fillWith(batches(readable)));
    await rename(unfinished, path);
  } catch (error) {
    await rm(unfinished, { force: true });
    throw error;
  } finally {
    await packing;
  }
}

async function pack(controller: Controller, jws: Uint8Array, folder: string, { manifest }: Statement): Promise<void> {
  await add(controller, statementEntry(jws.length), [jws]);
  for (const blob of distinctBlobs(manifest.artifacts)) {
    const bytes = createReadStream(join(folder, blob.path), { highWaterMark: 256 * 1024 });
    await add(controller, blobEntry(blob), verified(bytes, blob.digest, blob.size));
  }
  controller.finalize();
}

async function add(
  controller: Controller,
  entry: Entry,
  bytes: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): Promise<void> {
  const writer = controller.add({ ...entry, mtime: new Date(0) }).getWriter();
  for await (const chunk of bytes) await writer.write(chunk);
  await writer.close();
}
