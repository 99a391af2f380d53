import { Problem } from '../domain/errors.ts';
import type { HttpContext } from './route.ts';

/** Room for the largest manifest and its notes as JSON text. */
const MAX_JSON_BYTES = 1024 * 1024;

/** How long a body may be silent. */
const IDLE_MS = 120_000;

/**
 * The request's bytes as they come, from Node's own stream where there is one, without the web stream around it. A reader
 * that stops early leaves the connection whole, for the refusal to be sent on.
 *
 * @throws {Problem} invalid-request where the caller stops before the end
 */
export async function* bodyBytes(c: HttpContext): AsyncGenerator<Uint8Array> {
  const incoming = c.env?.incoming;
  const bytes = incoming ? incoming.iterator({ destroyOnReturn: false }) : c.req.raw.body;
  if (!bytes) return;
  // Node ends the connection when this runs out.
  incoming?.socket.setTimeout(IDLE_MS);
  try {
    for await (const chunk of bytes as AsyncIterable<Uint8Array>) yield chunk;
  } catch (cause) {
    throw new Problem('invalid-request', 'The body was cut off.', {}, cause);
  } finally {
    incoming?.socket.setTimeout(0);
  }
}

/** @throws {Problem} unsupported-media-type, too-large, invalid-request; no body at all is an empty object */
export async function readJson(c: HttpContext): Promise<unknown> {
  const text = await readText(c);
  if (text === '') return {};
  checkType(c, 'application/json');
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new Problem('invalid-request', 'The body is not JSON.', {}, cause);
  }
}

async function readText(c: HttpContext): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of bodyBytes(c)) {
    size += chunk.length;
    if (size > MAX_JSON_BYTES) throw new Problem('too-large', `The body is over ${MAX_JSON_BYTES} bytes.`);
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
