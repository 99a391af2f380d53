import { CompactSign, compactVerify, decodeProtectedHeader } from 'jose';
import { z } from 'zod';
import type { SigningKey } from '../access/signing-key.ts';
import { type Artifact, Manifest } from '../domain/manifest.ts';
import { EnvironmentName, ModelName } from '../domain/names.ts';
import { Version } from '../domain/versions.ts';
import { BundleRefused } from './refused.ts';

const A_DAY_MS = 24 * 3600_000;
/** A registry keeps idempotency keys for 30 days; later, it could not recognize a bundle that it has seen. */
export const MAX_DAYS = 30;
const ALGORITHM = 'HS256';
const TYPE = 'signalbox-bundle+jws';

/** The signed content of a bundle: a version, and optionally the environment to activate it in. */
export const Statement = z
  .strictObject({
    format: z.literal(1),
    model: ModelName,
    version: Version,
    manifest: Manifest,
    notes: z.string().nullable(),
    activate: z.strictObject({ environment: EnvironmentName, reason: z.string().nullable() }).nullable(),
    created_at: z.iso.datetime(),
    expires_at: z.iso.datetime(),
    nonce: z.string().regex(/^[A-Za-z0-9_-]{22,64}$/),
  })
  .refine(
    ({ created_at, expires_at }) => Date.parse(expires_at) - Date.parse(created_at) <= MAX_DAYS * A_DAY_MS,
    `must not be valid for more than ${MAX_DAYS} days`,
  )
  .refine(({ manifest }) => !hasTwoSizes(manifest.artifacts), 'must not have two sizes for the same bytes');
export type Statement = z.output<typeof Statement>;

function hasTwoSizes(artifacts: Artifact[]): boolean {
  const sizes = new Map(artifacts.map(({ digest, size }) => [digest, size]));
  return artifacts.some(({ digest, size }) => sizes.get(digest) !== size);
}

/** Returns the statement as a compact JWS (RFC 7515). */
export async function signStatement(statement: Statement, { id, secret }: SigningKey): Promise<Uint8Array> {
  const sign = new CompactSign(Buffer.from(JSON.stringify(statement)));
  return Buffer.from(await sign.setProtectedHeader({ alg: ALGORITHM, typ: TYPE, kid: id }).sign(secret));
}

/** Verifies and parses a statement. @throws {BundleRefused} for another key, an invalid time, or invalid content */
export async function openStatement(jws: Uint8Array, key: SigningKey, now: Date): Promise<Statement> {
  const payload = await verifiedPayload(Buffer.from(jws).toString('latin1'), key);
  const result = Statement.safeParse(payload);
  if (!result.success) throw new BundleRefused(`bundle.jws is not a valid statement: ${z.prettifyError(result.error)}`);
  const { created_at, expires_at } = result.data;
  if (now.getTime() > Date.parse(expires_at)) throw new BundleRefused(`It expired at ${expires_at}.`);
  // The clock of the machine that made it may be wrong by up to a day. With more, it could outlive its idempotency key.
  const isEarly = Date.parse(created_at) > now.getTime() + A_DAY_MS;
  if (isEarly) throw new BundleRefused(`Its creation date is in the future: ${created_at}.`);
  return result.data;
}

async function verifiedPayload(jws: string, { id, secret }: SigningKey): Promise<unknown> {
  try {
    const { kid, typ } = decodeProtectedHeader(jws);
    if (typ !== TYPE) throw new BundleRefused('bundle.jws is not a valid statement.');
    if (kid !== id) throw new BundleRefused(`It is signed with another key than ${id}, the REGISTRY_SIGNING_KEY here.`);
    const { payload } = await compactVerify(jws, secret, { algorithms: [ALGORITHM] });
    return JSON.parse(Buffer.from(payload).toString());
  } catch (cause) {
    throw cause instanceof BundleRefused ? cause : new BundleRefused('Its signature is not valid.', cause);
  }
}
