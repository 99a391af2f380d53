import { verified } from '../../artifacts/verify.ts';
import { Problem } from '../../domain/errors.ts';
import { announcedDigest } from './content-digest.ts';
import type { HttpContext } from './context.ts';

/** Room for the longest notes, however they are escaped. */
const MAX_JSON_BYTES = 256 * 1024;

/** How much of a body has to come in each window, at least: an upload may take hours, and must not fall asleep. */
const PACE = { bytes: 16 * 1024, ms: 60_000 };

/** How long JSON may take, all of it. */
const JSON_WITHIN_MS = 60_000;

/**
 * The request's bytes as they come, in place of whose end it throws if they are not what Content-Digest announces.
 *
 * @throws {Problem} invalid-request where the caller stops before the end; checksum-mismatch
 */
export function bodyBytes(c: HttpContext, pace = PACE): AsyncGenerator<Uint8Array> {
  const digest = announcedDigest(c.req.header('content-digest'));
  return digest ? verified(receivedBytes(c, pace), digest) : receivedBytes(c, pace);
}

/**
 * From Node's own stream where there is one, without the web stream around it. A reader that stops early leaves the
 * connection whole, for the refusal to be sent on.
 */
async function* receivedBytes(c: HttpContext, pace: typeof PACE): AsyncGenerator<Uint8Array> {
  const incoming = c.env?.incoming;
  const bytes = incoming ? incoming.iterator({ destroyOnReturn: false }) : c.req.raw.body;
  if (!bytes) return;
  let received = 0;
  // While we ourselves are at work on what came, nothing is to be expected of the caller.
  let waiting = true;
  const watch = setInterval(() => {
    const slow = waiting && received < pace.bytes && !incoming?.complete;
    if (slow) incoming?.destroy(new Error(`less than ${pace.bytes} bytes came in ${pace.ms} ms`));
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
    throw new Problem('invalid-request', 'The body was cut off.', {}, cause);
  } finally {
    clearInterval(watch);
  }
}

/** @throws {Problem} unsupported-media-type, too-large, invalid-request, checksum-mismatch; no body at all is an empty object */
export async function readJson(c: HttpContext, maxBytes = MAX_JSON_BYTES): Promise<unknown> {
  const text = await readText(c, maxBytes);
  if (text === '') return {};
  checkType(c, 'application/json');
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new Problem('invalid-request', 'The body is not JSON.', {}, cause);
  }
}

async function readText(c: HttpContext, maxBytes: number): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of bodyBytes(c, { bytes: maxBytes, ms: JSON_WITHIN_MS })) {
    size += chunk.length;
    if (size > maxBytes) throw new Problem('too-large', `The body is over ${maxBytes} bytes.`);
    chunks.push(chunk);
  }
  return utf8(Buffer.concat(chunks));
}

const strict = new TextDecoder('utf-8', { fatal: true });

/** @throws {Problem} invalid-request: what is not UTF-8 would be stored as something else than was sent */
export function utf8(bytes: Uint8Array): string {
  try {
    return strict.decode(bytes);
  } catch (cause) {
    throw new Problem('invalid-request', 'The body is not UTF-8.', {}, cause);
  }
}

/** The media type of the request, without its parameters. */
export function mediaType(c: HttpContext): string {
  return (c.req.header('content-type') ?? '').split(';')[0]!.trim().toLowerCase();
}

/** @throws {Problem} unsupported-media-type */
export function checkType(c: HttpContext, ...types: string[]): void {
  if (types.includes(mediaType(c))) return;
  throw new Problem('unsupported-media-type', `Send the body as ${types.join(' or ')}.`);
}

/** The announced size of the body, or undefined for one sent in chunks. */
export function contentLength(c: HttpContext): number | undefined {
  const text = c.req.header('content-length');
  return text === undefined ? undefined : Number(text);
}
