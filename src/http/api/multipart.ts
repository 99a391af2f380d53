import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { Busboy } from '@fastify/busboy';
import type { PublishInput } from '../../commands/publish.ts';
import { Problem } from '../../domain/errors.ts';
import { MAX_MANIFEST_BYTES } from '../../domain/manifest.ts';
import { isReferred } from '../../domain/reference.ts';
import { bodyBytes, utf8 } from '../server/body.ts';
import type { HttpContext } from '../server/context.ts';
import type { Services } from '../services.ts';
import { checkManifest } from './manifest-input.ts';

/** The manifest, the most files that it may list, and one more to report: the parser drops the rest. */
const MAX_PARTS = 1 + 1000 + 1;

/**
 * Receives a version as multipart/form-data in constant memory: the part `manifest`, then one part per file, named by
 * its path. Each part is verified against the manifest while it streams into the store.
 *
 * If the request is refused, files that are already stored stay, as another request may have stored or found the same
 * bytes. The collector deletes them after their grace period.
 *
 * @throws {Problem} invalid-request (a missing, extra or repeated part), checksum-mismatch with its `path`
 */
export async function receiveMultipart(
  { c, actor }: { c: HttpContext; actor: string },
  { artifacts, blobAccess }: Pick<Services, 'artifacts' | 'blobAccess'>,
): Promise<PublishInput> {
  const received = new Set<string>();
  let input: PublishInput | null = null;
  let parts: Promise<void> = Promise.resolve();
  let failure: unknown = null;
  const begun: Readable[] = [];

  const parser = parserFor(c);
  parser.on('file', (name, part) => {
    part.on('error', () => {}); // the pipeline reports it
    begun.push(part);
    parts = parts.then(() => receive(name, part)).catch(fail);
  });

  function fail(error: unknown): void {
    failure ??= error;
    parser.destroy(failure as Error);
    // The parts of a destroyed parser would wait for ever.
    for (const part of begun) part.destroy(failure as Error);
  }

  async function receive(name: string, part: Readable): Promise<void> {
    if (failure) throw failure;
    if (input === null) input = await readManifest(name, part);
    else await storePart(input, name, part);
  }

  async function storePart({ artifacts: listed }: PublishInput, path: string, part: Readable): Promise<void> {
    const artifact = listed.find((candidate) => candidate.path === path);
    if (!artifact) throw new Problem('invalid-request', `The manifest does not list ${path}.`, { path });
    if (isReferred(artifact))
      throw new Problem('invalid-request', `${path} has a source, so it has no part.`, { path });
    if (received.has(path)) throw new Problem('invalid-request', `The part ${path} is repeated.`, { path });
    received.add(path);
    await artifacts.store
      .put(artifact.digest, part, artifact.size)
      .catch((error) => Promise.reject(withPath(error, path)));
    blobAccess.sent(actor, artifact.digest);
  }

  try {
    await pipeline(bodyBytes(c), parser).catch(fail);
    await parts;
    if (failure) throw failure;
    return complete(input, received);
  } catch (error) {
    await parts;
    throw error instanceof Problem ? error : new Problem('invalid-request', 'Invalid multipart body.', {}, error);
  }
}

function parserFor(c: HttpContext) {
  const headers = { 'content-type': c.req.header('content-type')! };
  try {
    // Each part is a stream, also `manifest`: curl sends it with or without a file name.
    return Busboy({ headers, isPartAFile: () => true, limits: { parts: MAX_PARTS, headerPairs: 20 } });
  } catch (cause) {
    throw new Problem('invalid-request', 'The Content-Type multipart/form-data has no valid boundary.', {}, cause);
  }
}

async function readManifest(name: string, part: Readable): Promise<PublishInput> {
  if (name !== 'manifest') throw new Problem('invalid-request', `The first part must be "manifest", not "${name}".`);
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of part) {
    size += chunk.length;
    if (size > 2 * MAX_MANIFEST_BYTES)
      throw new Problem('too-large', `The part "manifest" is larger than ${2 * MAX_MANIFEST_BYTES} bytes.`);
    chunks.push(chunk);
  }
  try {
    return checkManifest(JSON.parse(utf8(Buffer.concat(chunks))), 'part manifest');
  } catch (cause) {
    if (cause instanceof Problem) throw cause;
    throw new Problem('invalid-request', `The part "manifest" is not JSON: ${(cause as Error).message}.`, {}, cause);
  }
}

function complete(input: PublishInput | null, received: Set<string>): PublishInput {
  if (input === null) throw new Problem('invalid-request', 'The body has no part "manifest". Send it first.');
  const missing = input.artifacts
    .filter((artifact) => !isReferred(artifact) && !received.has(artifact.path))
    .map(({ path }) => path);
  if (missing.length === 0) return input;
  throw new Problem('invalid-request', `There is no part for ${missing.join(', ')}.`, { missing });
}

function withPath(error: unknown, path: string): unknown {
  if (!(error instanceof Problem)) return error;
  return new Problem(error.code, `${path}: ${error.message}`, { path, ...error.fields }, error);
}
