import { createHash } from 'node:crypto';
import type { Digest } from '../domain/digest.ts';
import { Problem } from '../domain/errors.ts';

/**
 * Yields the bytes unchanged, and throws at the end if they do not have the expected digest and size.
 *
 * @throws {Problem} checksum-mismatch; as soon as there are more bytes than `size`
 */
export async function* verified(
  bytes: AsyncIterable<Uint8Array>,
  expected: Digest,
  size?: number,
): AsyncGenerator<Uint8Array> {
  const hash = createHash('sha256');
  let received = 0;
  for await (const chunk of bytes) {
    received += chunk.length;
    if (size !== undefined && received > size) throw wrongSize(expected, size, `more than ${size}`);
    hash.update(chunk);
    yield chunk;
  }
  if (size !== undefined && received < size) throw wrongSize(expected, size, String(received));
  const actual: Digest = `sha256:${hash.digest('hex')}`;
  if (actual === expected) return;
  throw new Problem('checksum-mismatch', `The bytes are ${actual}, not ${expected}.`, { expected, actual });
}

function wrongSize(digest: Digest, expected: number, actual: string): Problem {
  const detail = `${digest} has ${expected} bytes, but ${actual} arrived.`;
  return new Problem('checksum-mismatch', detail, { digest, expected, actual });
}
