import { parseDictionary } from 'structured-headers';
import type { Digest } from '../../domain/digest.ts';
import { Problem } from '../../domain/errors.ts';

/**
 * Returns the SHA-256 of a Content-Digest header (RFC 9530); null if it has only other algorithms or is missing.
 *
 * @throws {Problem} invalid-request
 */
export function announcedDigest(header: string | undefined): Digest | null {
  if (header === undefined) return null;
  const [bytes] = parse(header).get('sha-256') ?? [];
  if (bytes === undefined) return null;
  if (bytes instanceof ArrayBuffer && bytes.byteLength === 32) return `sha256:${Buffer.from(bytes).toString('hex')}`;
  throw new Problem('invalid-request', 'The sha-256 of Content-Digest is not 32 bytes in base64 between colons.');
}

function parse(header: string) {
  try {
    return parseDictionary(header);
  } catch (cause) {
    throw new Problem('invalid-request', 'Content-Digest is not valid. Send sha-256=:<base64>: (RFC 9530).', {}, cause);
  }
}
