import { join } from 'node:path';
import type { VersionView } from '../api/views.ts';
import { sha256Hex } from '../domain/digest.ts';
import { Problem } from '../domain/errors.ts';
import { type Artifact, distinctBlobs, type Manifest } from '../domain/manifest.ts';
import { type RegistryClient, RegistryUnreachable } from './client.ts';
import { type Sent, sendFile } from './upload.ts';

export interface PublishOptions {
  model: string;
  folder: string;
  manifest: Manifest;
  version?: string | undefined;
  bump?: string | undefined;
  notes?: string | undefined;
  /** Called with the bytes sent so far, fewer after a cut, and the total to send. */
  progress(sent: number, total: number): void;
}

const AT_ONCE = 4;
/** Two hours. */
const MAX_WAITS = 24;

/**
 * Uploads the blobs that the registry does not have, four at a time, and then the version that lists them. An upload that
 * breaks goes on where it ended. Safe to repeat: blobs that arrived are not sent again, and the idempotency key makes the
 * same content the same version.
 */
export async function publishFolder(client: RegistryClient, options: PublishOptions): Promise<VersionView> {
  const { folder, manifest, progress } = options;
  const lacking = await missingBlobs(client, manifest.artifacts);
  const total = lacking.reduce((sum, { size }) => sum + size, 0);
  let sent = 0;
  const count: Sent = (bytes) => {
    sent += bytes;
    progress(sent, total);
  };
  await inParallel(lacking, (artifact) => sendFile(client, join(folder, artifact.path), artifact, count));
  return publishManifest(client, options);
}

/** Publishes a version whose bytes are in the store, or at sources that the registry reads before it answers. */
export async function publishManifest(
  client: RegistryClient,
  { model, manifest, version, bump, notes }: Omit<PublishOptions, 'folder' | 'progress'>,
): Promise<VersionView> {
  const body = { ...manifest, version, bump, notes };
  // A repeated bump with the same content must not create another version.
  const headers = { 'Idempotency-Key': `publish-${sha256Hex(JSON.stringify(body))}` };
  const path = `/api/models/${encodeURIComponent(model)}/versions`;
  for (let attempt = 1; ; attempt++) {
    try {
      return await client.call<VersionView>('POST', path, { json: body, headers });
    } catch (error) {
      if (attempt === MAX_WAITS || !isStillWaiting(error)) throw error;
    }
  }
}

/** fetch waits five minutes for an answer. The registry goes on, and a repeated request joins what it is doing. */
function isStillWaiting(error: unknown): boolean {
  const { cause } = (error as { cause?: Error }).cause ?? {};
  return error instanceof RegistryUnreachable && (cause as NodeJS.ErrnoException)?.code === 'UND_ERR_HEADERS_TIMEOUT';
}

/** Returns the blobs to upload, each once: all of them if the caller may not check which ones exist. */
export async function missingBlobs(client: RegistryClient, artifacts: readonly Artifact[]): Promise<Artifact[]> {
  const lacking: Artifact[] = [];
  await inParallel(distinctBlobs(artifacts), async (artifact) => {
    if (!(await client.has(`/api/blobs/${artifact.digest}`).catch(falseIfForbidden))) lacking.push(artifact);
  });
  return lacking;
}

function falseIfForbidden(error: unknown): false {
  if (error instanceof Problem && error.code === 'forbidden') return false;
  throw error;
}

/**
 * Streams bytes to the registry as one blob, without going on after a cut: for bytes that can be read only once.
 *
 * @throws {Problem} checksum-mismatch if the bytes do not match the digest
 */
export async function sendBlob(
  client: RegistryClient,
  bytes: AsyncIterable<Uint8Array>,
  { digest, size }: Artifact,
  sent: Sent,
): Promise<void> {
  // Not `Readable.toWeb`: bytes that it buffered end the process if the request is refused just when they are asked for.
  const stream = ReadableStream.from(counting(bytes, sent));
  await client.call('PUT', `/api/blobs/${digest}`, { bytes: { stream, size, digest: async () => digest } });
}

async function* counting(bytes: AsyncIterable<Uint8Array>, sent: Sent) {
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
