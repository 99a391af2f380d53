import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { z } from 'zod';
import { Reach } from '../domain/permissions.ts';

/** The stored record of an API key, without the key itself. */
export const KeyRecord = z.object({
  id: z.string(),
  name: z.string(),
  /** A bearer key is sent. A signing key never is; its secret is derived (signing-key.ts). */
  kind: z.enum(['bearer', 'signing']).default('bearer'),
  /** SHA-256 of a bearer key's secret, in hexadecimal. The secret is 256 random bits, so a fast hash is safe. */
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

/** Creates a key, to be shown once, and the parts of it that are stored. */
export function newKey(): { key: string; id: string; hash: string } {
  const id = randomBytes(6).toString('hex');
  const secret = randomBytes(32).toString('base64url');
  return { key: `${PREFIX}${id}_${secret}`, id, hash: hashOf(secret) };
}

/** Returns the id and the secret of a key; null if it is not a key. */
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
