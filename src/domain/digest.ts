import { hash } from 'node:crypto';
import { z } from 'zod';

/** A SHA-256, in the form that manifests and routes use. */
export type Digest = `sha256:${string}`;

export const Digest = z.templateLiteral(['sha256:', z.string().regex(/^[0-9a-f]{64}$/)]).meta({
  description: 'SHA-256 in lower-case hexadecimal',
  example: `sha256:${'0'.repeat(64)}`,
});

/** Returns a digest in the form of the HTTP fields Content-Digest and Repr-Digest (RFC 9530). */
export function digestField(digest: Digest): string {
  return `sha-256=:${Buffer.from(digest.slice('sha256:'.length), 'hex').toString('base64')}:`;
}

export function isDigest(text: string): text is Digest {
  return /^sha256:[0-9a-f]{64}$/.test(text);
}

export function sha256Hex(bytes: Uint8Array | string): string {
  return hash('sha256', bytes, 'hex');
}
