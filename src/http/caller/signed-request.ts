import type { IncomingHttpHeaders } from 'node:http';
import type { KeyStore } from '../../access/key-store.ts';
import type { Nonces } from '../../access/nonces.ts';
import type { Identity } from '../../access/policy.ts';
import { isSigned, readSignature, type Signable } from '../../access/signatures.ts';
import { signingSecret } from '../../access/signing-key.ts';
import { Problem } from '../../domain/errors.ts';
import { announcedDigest } from '../server/content-digest.ts';
import type { HttpContext } from '../server/context.ts';
import type { Admit } from './caller.ts';

/** What signatures are verified with. */
export interface Signing {
  /** Secrets that signing keys are derived from; new keys use the first. Empty: there are no signing keys. */
  secrets: readonly Uint8Array[];
  nonces: Nonces;
}

export interface SigningServices {
  keys: KeyStore;
  signing: Signing;
  /** The address of the registry for browsers; null: only loopback addresses. */
  publicUrl: URL | null;
  now(): Date;
}

/**
 * Identifies the caller by the key that signed the request. The body is verified while it is read (`bodyBytes`).
 *
 * @throws {Problem} unauthenticated, too-many-requests, log-unavailable; invalid-request for an invalid Content-Digest;
 *   as `admit`
 */
export async function identifySigner(
  c: HttpContext,
  { keys, signing, publicUrl, now }: SigningServices,
  admit: Admit,
): Promise<Identity> {
  const { headers } = c.env.incoming;
  const hasBody = headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
  const signature = readSignature(headers as Signable['headers'], hasBody, now());
  if (hasBody && announcedDigest(c.req.header('content-digest')) === null) {
    throw new Problem('unauthenticated', 'The signature is not valid: Content-Digest has no sha-256.');
  }
  const requests = authoritiesOf(headers, publicUrl).map((authority) => signableOf(c, authority));
  const identity = keys.signer(signature.keyid, () =>
    signing.secrets.some((secret) => {
      const derived = signingSecret(secret, signature.keyid);
      return requests.some((request) => isSigned(request, signature, derived));
    }),
  );
  // Nonces are stored last, for requests within the caller's limit only: all keys share the space for them.
  admit(identity);
  await signing.nonces.use(signature.keyid, signature.nonce);
  return identity;
}

/** Uses the path as it was sent, which may be an alias of the route. */
function signableOf(c: HttpContext, authority: string): Signable {
  const { method = '', url = '', headers } = c.env.incoming;
  return { method, target: url, authority, headers: headers as Signable['headers'] };
}

/** A proxy may rewrite Host. Callers then have signed the public address. */
function authoritiesOf({ host = '' }: IncomingHttpHeaders, publicUrl: URL | null): string[] {
  const sent = host.toLowerCase().replace(/:80$/, '');
  return publicUrl === null ? [sent] : [sent, publicUrl.host];
}

/** Returns the key id of a signature, without verifying anything. */
export function claimedSigner(c: HttpContext): string {
  return /;keyid="(\w{1,64})"/.exec(c.req.header('signature-input') ?? '')?.[1] ?? '';
}
