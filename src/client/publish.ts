import { createReadStream } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { sha256Hex } from '../domain/digest.ts';
import type { Artifact, Manifest } from '../domain/manifest.ts';
import type { VersionView } from '../domain/views.ts';
import type { RegistryClient } from './client.ts';

export interface PublishOptions {
  model: string;
  folder: string;
  manifest: Manifest;
  version?: string | undefined;
  bump?: string | undefined;
  notes?: string | undefined;
  /** Called with the bytes sent so far, of all that have to be sent. */
  progress(sent: number, total: number): void;
}

const AT_ONCE = 4;

/**
 * Sends the blobs that the registry lacks, four at once, and then the version that lists them. Safe to run again: what
 * arrived is not sent twice, and the same content under the same key is the same version.
 */
export async function publishFolder(client: RegistryClient, options: PublishOptions): Promise<VersionView> {
  const { model, folder, manifest, version, bump, notes, progress } = options;
  const lacking = await missingBlobs(client, manifest.artifacts);
  const total = lacking.reduce((sum, { size }) => sum + size, 0);
  let sent = 0;
  const count = (bytes: number) => {
    sent += bytes;
    progress(sent, total);
  };
  await inParallel(lacking, (artifact) => sendBlob(client, join(folder, artifact.path), artifact, count));
  const body = { ...manifest, version, bump, notes };
  // A bump asked for again with the same content must not become another version.
  const headers = { 'Idempotency-Key': `publish-${sha256Hex(JSON.stringify(body))}` };
  return client.call<VersionView>('POST', `/api/models/${model}/versions`, { json: body, headers });
}

async function missingBlobs(client: RegistryClient, artifacts: Artifact[]): Promise<Artifact[]> {
  const distinct = [...new Map(artifacts.map((artifact) => [artifact.digest, artifact])).values()];
  const lacking: Artifact[] = [];
  await inParallel(distinct, async (artifact) => {
    if (!(await client.has(`/api/blobs/${artifact.digest}`))) lacking.push(artifact);
  });
  return lacking;
}

async function sendBlob(
  client: RegistryClient,
  path: string,
  { digest, size }: Artifact,
  sent: (bytes: number) => void,
): Promise<void> {
  const counted = Readable.from(counting(createReadStream(path, { highWaterMark: 256 * 1024 }), sent));
  const stream = Readable.toWeb(counted) as ReadableStream<Uint8Array>;
  await client.call('PUT', `/api/blobs/${digest}`, { bytes: { stream, size } });
}

async function* counting(bytes: AsyncIterable<Uint8Array>, sent: (bytes: number) => void) {
  for await (const chunk of bytes) {
    sent(chunk.length);
    yield chunk;
  }
}

async function inParallel<T>(items: T[], action: (item: T) => Promise<void>): Promise<void> {
  const waiting = [...items];
  const worker = async () => {
    for (let item = waiting.shift(); item !== undefined; item = waiting.shift()) await action(item);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
}
