import { hkdfSync, randomBytes } from 'node:crypto';

/** A key that signs requests and bundles, and is never sent. */
export interface SigningKey {
  id: string;
  secret: Uint8Array;
}

const PREFIX = 'sbs_';
const FORM = /^sbs_([0-9a-f]{12})_([A-Za-z0-9_-]{43})$/;
const SECRET_BYTES = 32;

export function isSigningKey(text: string): boolean {
  return text.startsWith(PREFIX);
}

/** Creates a key, to be shown once. Its secret is not stored. */
export function newSigningKey(registrySecret: Uint8Array): { key: string; id: string } {
  const id = randomBytes(6).toString('hex');
  const secret = Buffer.from(signingSecret(registrySecret, id)).toString('base64url');
  return { key: `${PREFIX}${id}_${secret}`, id };
}

/** Derives the secret of a signing key from the registry's secret (HKDF, RFC 5869), so every server can verify it. */
export function signingSecret(registrySecret: Uint8Array, id: string): Uint8Array {
  return new Uint8Array(hkdfSync('sha256', registrySecret, '', `signalbox signing key ${id}`, SECRET_BYTES));
}

/** Returns null if the text is not a signing key. */
export function parseSigningKey(text: string): SigningKey | null {
  const [, id, secret] = FORM.exec(text) ?? [];
  return id && secret ? { id, secret: Buffer.from(secret, 'base64url') } : null;
}
