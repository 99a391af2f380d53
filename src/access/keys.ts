import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { z } from 'zod';
import { Reach } from '../domain/permissions.ts';

/** What is kept of an API key: everything but the key itself. */
export const KeyRecord = z.object({
  id: z.string(),
  name: z.string(),
  /** A bearer key is sent; a signing key never is, and its secret is derived (signing-key.ts). */
  kind: z.enum(['bearer', 'signing']).default('bearer'),
  /** SHA-256 of a sent secret, in hexadecimal: it has 256 bits of its own, so that no slower hash is needed. */
  hash: z
    .string()
    .regex(/^[0-9a-f]{64}$/)
    .nullable(),
  reach: Reach,
  created_at: z.iso.datetime(),
  created_by: z.string(),
  expires_at: z.iso.datetime().nullable(),
  last_used_at: z.iso.datetime().nullable(),
});
export type KeyRecord = z.output<typeof KeyRecord>;

const PREFIX = 'sbk_';
const FORM = /^sbk_([0-9a-f]{12})_([A-Za-z0-9_-]{43})$/;

export function isKey(text: string): boolean {
  return text.startsWith(PREFIX);
}

/** A key, to be shown once, and what of it is kept. */
export function newKey(): { key: string; id: string; hash: string } {
  const id = randomBytes(6).toString('hex');
  const secret = randomBytes(32).toString('base64url');
  return { key: `${PREFIX}${id}_${secret}`, id, hash: hashOf(secret) };
}

/** The id that a key names, and its secret; null for what is none. */
export function parseKey(key: string): { id: string; secret: string } | null {
  const [, id, secret] = FORM.exec(key) ?? [];
  return id && secret ? { id, secret } : null;
}

export function isSecretOf({ hash }: Pick<KeyRecord, 'hash'>, secret: string): boolean {
  return hash !== null && timingSafeEqual(Buffer.from(hash, 'hex'), Buffer.from(hashOf(secret), 'hex'));
}

function hashOf(secret: string): string {
  return createHash('sha256').update(secret).digest('hex');
}
