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
  for await (const chunk of sized(bytes, expected, size)) {
    hash.update(chunk);
    yield chunk;
  }
  checkDigest(`sha256:${hash.digest('hex')}`, expected);
}

/**
 * Yields the bytes unchanged, if they have the expected size.
 *
 * @throws {Problem} checksum-mismatch; as soon as there are more bytes than `size`
 */
export async function* sized(
  bytes: AsyncIterable<Uint8Array>,
  digest: Digest,
  size?: number,
): AsyncGenerator<Uint8Array> {
  let received = 0;
  for await (const chunk of bytes) {
    received += chunk.length;
    if (size !== undefined && received > size) throw wrongSize(digest, size, `more than ${size}`);
    yield chunk;
  }
  if (size !== undefined && received < size) throw wrongSize(digest, size, String(received));
}

/** @throws {Problem} checksum-mismatch */
export function checkDigest(actual: Digest, expected: Digest): void {
  if (actual === expected) return;
  throw new Problem('checksum-mismatch', `The bytes are ${actual}, not ${expected}.`, { expected, actual });
}

function wrongSize(digest: Digest, expected: number, actual: string): Problem {
  const detail = `${digest} has ${expected} bytes, but ${actual} arrived.`;
  return new Problem('checksum-mismatch', detail, { digest, expected, actual });
}
