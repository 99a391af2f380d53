import { parseDictionary } from 'structured-headers';
import type { Digest } from '../../domain/digest.ts';
import { Problem } from '../../domain/errors.ts';

/**
 * The SHA-256 that a Content-Digest header announces (RFC 9530); null where there is none, or only those of other algorithms.
 *
 * @throws {Problem} invalid-request
 */
export function announcedDigest(header: string | undefined): Digest | null {
  if (header === undefined) return null;
  const [bytes] = parse(header).get('sha-256') ?? [];
  if (bytes === undefined) return null;
  if (bytes instanceof ArrayBuffer && bytes.byteLength === 32) return `sha256:${Buffer.from(bytes).toString('hex')}`;
  throw new Problem('invalid-request', 'Content-Digest has no SHA-256 under sha-256.');
}

function parse(header: string) {
  try {
    return parseDictionary(header);
  } catch (cause) {
    throw new Problem('invalid-request', 'Content-Digest cannot be read.', {}, cause);
  }
}
