import { z } from 'zod';
import { KeyRecord, newKey } from '../../access/keys.ts';
import { Reach } from '../../access/policy.ts';
import { newSigningKey } from '../../access/signing-key.ts';
import { Problem } from '../../domain/errors.ts';
import type { Signing } from '../caller/signed-request.ts';
import { route } from '../server/route.ts';

const KeyView = z
  .object({
    id: z.string(),
    name: z.string(),
    kind: KeyRecord.shape.kind.unwrap(),
    reach: Reach,
    created_at: z.iso.datetime(),
    created_by: z.string(),
    expires_at: z.iso.datetime().nullable(),
    last_used_at: z.iso.datetime().nullable().meta({ description: 'To the hour' }),
  })
  .meta({ id: 'Key' });

const NewKey = z.strictObject({
  name: z
    .string()
    .regex(/^[A-Za-z0-9._-]{1,64}$/, 'must match [A-Za-z0-9._-]{1,64}')
    .meta({ description: 'Who acts, as key:<name>, in every event' }),
  reach: Reach,
  signing: z.boolean().default(false).meta({ description: 'A key that signs requests (RFC 9421) and is never sent' }),
  expires_at: z.iso.datetime().nullable().default(null),
});

const create = route({
  method: 'POST',
  path: '/api/keys',
  permission: 'keys',
  summary: 'Make an API key; it is shown in this answer only',
  event_type: 'key.created',
  body: NewKey,
  answer: { status: 201, schema: KeyView.extend({ key: z.string() }) },
  errors: ['conflict', 'log-unavailable'],
  async handle({ body: { signing: signs, ...body }, actor }, { keys, signing, now }) {
    const { key, ...made } = signs ? signingKey(signing) : { ...newKey(), kind: 'bearer' as const };
    const record = { ...made, ...body, created_at: now().toISOString(), created_by: actor, last_used_at: null };
    await keys.add(record);
    const headers = { 'Cache-Control': 'no-store' };
    return { status: 201, headers, json: { ...viewOf(record), key }, log: { key_id: record.id, name: body.name } };
  },
});

const list = route({
  method: 'GET',
  path: '/api/keys',
  permission: 'keys',
  summary: 'The API keys there are, without the keys themselves',
  answer: { status: 200, schema: z.object({ keys: z.array(KeyView) }) },
  errors: [],
  handle: (_request, { keys }) => ({ json: { keys: keys.list().map(viewOf) } }),
});

const revoke = route({
  method: 'DELETE',
  path: '/api/keys/:id',
  permission: 'keys',
  summary: 'Revoke an API key, on every server within seconds',
  event_type: 'key.revoked',
  params: z.object({ id: z.string().max(64) }),
  answer: { status: 204 },
  errors: ['unknown-key', 'log-unavailable'],
  async handle({ params }, { keys }) {
    await keys.revoke(params.id);
    return { status: 204, log: { key_id: params.id } };
  },
});

function signingKey({ secrets: [secret] }: Signing) {
  if (secret) return { ...newSigningKey(secret), kind: 'signing' as const, hash: null };
  throw new Problem(
    'invalid-request',
    'Signing keys are derived from REGISTRY_JWT_SECRET, which this registry has not.',
  );
}

function viewOf({ hash: _, ...shown }: KeyRecord): z.infer<typeof KeyView> {
  return shown;
}

export const keyRoutes = [create, list, revoke];
