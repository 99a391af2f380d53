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
  /** Of the registry: what signing keys are derived from, new ones from the first. Without any there are none. */
  secrets: readonly Uint8Array[];
  nonces: Nonces;
}

export interface SigningServices {
  keys: KeyStore;
  signing: Signing;
  /** The address at which browsers reach the registry; null: only loopback addresses. */
  publicUrl: URL | null;
  now(): Date;
}

/**
 * The caller, by the key that the request is signed with. Its body is verified while it is read (`bodyBytes`).
 *
 * @throws {Problem} unauthenticated, too-many-requests, log-unavailable; invalid-request for a Content-Digest that is none;
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
    throw new Problem('unauthenticated', 'The signature is not valid. Content-Digest has no sha-256.');
  }
  const requests = authoritiesOf(headers, publicUrl).map((authority) => signableOf(c, authority));
  const identity = keys.signer(signature.keyid, () =>
    signing.secrets.some((secret) => {
      const derived = signingSecret(secret, signature.keyid);
      return requests.some((request) => isSigned(request, signature, derived));
    }),
  );
  // Nonces are stored last, and only for requests within the caller's limit: room for them is shared by all keys.
  admit(identity);
  await signing.nonces.use(signature.keyid, signature.nonce);
  return identity;
}

/** Under the path as it was sent, which may be another spelling of the route's. */
function signableOf(c: HttpContext, authority: string): Signable {
  const { method = '', url = '', headers } = c.env.incoming;
  return { method, target: url, authority, headers: headers as Signable['headers'] };
}

/** A proxy may rewrite Host; what callers have signed then is the public address. */
function authoritiesOf({ host = '' }: IncomingHttpHeaders, publicUrl: URL | null): string[] {
  const asked = host.toLowerCase().replace(/:80$/, '');
  return publicUrl === null ? [asked] : [asked, publicUrl.host];
}

/** Which key a signature says it is of; nothing is verified. */
export function claimedSigner(c: HttpContext): string {
  return /;keyid="(\w{1,64})"/.exec(c.req.header('signature-input') ?? '')?.[1] ?? '';
}
