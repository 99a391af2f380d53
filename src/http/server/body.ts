import { IncompleteBytes } from '../../artifacts/incomplete.ts';
import type { Sending } from '../../artifacts/unfinished-uploads.ts';
import { verified } from '../../artifacts/verify.ts';
import type { Digest } from '../../domain/digest.ts';
import { Problem } from '../../domain/errors.ts';
import { announcedDigest } from './content-digest.ts';
import type { HttpContext } from './context.ts';

/** Enough for the longest notes with every character escaped. */
const MAX_JSON_BYTES = 256 * 1024;

/** The least that must arrive in each period: an upload may take hours, but must not stall. */
const PACE = { bytes: 16 * 1024, ms: 60_000 };

/** Time-out for a whole JSON body. */
const JSON_WITHIN_MS = 60_000;

/**
 * Streams the bytes of a request. At their end it throws if they do not match Content-Digest.
 *
 * @throws {IncompleteBytes} if the body ends early; {Problem} checksum-mismatch
 */
export function bodyBytes(c: HttpContext, pace = PACE): AsyncGenerator<Uint8Array> {
  const digest = announcedDigest(c.req.header('content-digest'));
  return digest ? verified(receivedBytes(c, pace), digest) : receivedBytes(c, pace);
}

/**
 * Streams the bytes of a request to a consumer that verifies `digest`; the same Content-Digest is not checked twice. The
 * memory of a chunk is freed when the next one is requested. Left to the garbage collector, tens of MiB would wait for it.
 *
 * @throws {Problem} as `bodyBytes`
 */
export function uploadBytes(c: HttpContext, digest: Digest): AsyncGenerator<Uint8Array> {
  const announced = announcedDigest(c.req.header('content-digest'));
  const bytes = c.env?.incoming ? freed(receivedBytes(c, PACE)) : receivedBytes(c, PACE);
  return announced && announced !== digest ? verified(bytes, announced) : bytes;
}

/** The body of an upload that a newer request can end. */
export function uploadSending(c: HttpContext, digest: Digest): Sending {
  const end = () => {
    const incoming = c.env?.incoming;
    if (incoming?.complete === false) incoming.destroy(new Error('a newer request goes on with the upload'));
  };
  return { bytes: uploadBytes(c, digest), size: contentLength(c), end };
}

/** Node's HTTP parser copies each chunk into a buffer of its own, which has no other user. */
async function* freed(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  for await (const chunk of bytes) {
    yield chunk;
    if (chunk.buffer.byteLength === chunk.length) (chunk.buffer as ArrayBuffer).transfer(0);
  }
}

/**
 * Reads Node's stream if there is one, without the web stream around it. The connection stays open if the consumer
 * stops early, so that the refusal can be sent.
 */
async function* receivedBytes(c: HttpContext, pace: typeof PACE): AsyncGenerator<Uint8Array> {
  const incoming = c.env?.incoming;
  const bytes = incoming ? incoming.iterator({ destroyOnReturn: false }) : c.req.raw.body;
  if (!bytes) return;
  let received = 0;
  // While the consumer processes a chunk, the caller cannot send the next one.
  let waiting = true;
  const watch = setInterval(() => {
    const slow = waiting && received < pace.bytes && !incoming?.complete;
    if (slow) incoming?.destroy(new Error(`fewer than ${pace.bytes} bytes arrived in ${pace.ms} ms`));
    received = 0;
  }, pace.ms);
  try {
    for await (const chunk of bytes as AsyncIterable<Uint8Array>) {
      received += chunk.length;
      waiting = false;
      yield chunk;
      waiting = true;
    }
  } catch (cause) {
    throw new IncompleteBytes(cause);
  } finally {
    clearInterval(watch);
  }
}

/** Parses a body; {} if empty. @throws {Problem} unsupported-media-type, too-large, invalid-request; as `bodyBytes` */
export async function readJson(c: HttpContext, maxBytes = MAX_JSON_BYTES): Promise<unknown> {
  const text = await readText(c, maxBytes);
  if (text === '') return {};
  checkType(c, 'application/json');
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new Problem('invalid-request', `The body is not valid JSON: ${(cause as Error).message}.`, {}, cause);
  }
}

async function readText(c: HttpContext, maxBytes: number): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of bodyBytes(c, { bytes: maxBytes, ms: JSON_WITHIN_MS })) {
    size += chunk.length;
    if (size > maxBytes) throw new Problem('too-large', `The body is larger than ${maxBytes} bytes.`);
    chunks.push(chunk);
  }
  return utf8(Buffer.concat(chunks));
}

const strict = new TextDecoder('utf-8', { fatal: true });

/** Decodes strictly, so that the text that is stored is the text that was sent. @throws {Problem} invalid-request */
export function utf8(bytes: Uint8Array): string {
  try {
    return strict.decode(bytes);
  } catch (cause) {
    throw new Problem('invalid-request', 'The body is not UTF-8.', {}, cause);
  }
}

/** Returns the media type of the request, without its parameters. */
export function mediaType(c: HttpContext): string {
  return (c.req.header('content-type') ?? '').split(';')[0]!.trim().toLowerCase();
}

/** @throws {Problem} unsupported-media-type */
export function checkType(c: HttpContext, ...types: string[]): void {
  const type = mediaType(c);
  if (types.includes(type)) return;
  throw new Problem('unsupported-media-type', `Send the body as ${types.join(' or ')}, not ${type || 'untyped'}.`);
}

/** Returns the announced size of the body; undefined for a chunked one. */
export function contentLength(c: HttpContext): number | undefined {
  const text = c.req.header('content-length');
  return text === undefined ? undefined : Number(text);
}
