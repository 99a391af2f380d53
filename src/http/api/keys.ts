import { z } from 'zod';
import { type KeyRecord, newKey } from '../../access/keys.ts';
import { newSigningKey } from '../../access/signing-key.ts';
import { CreatedKey, KeyList, type KeyView, NewKey } from '../../api/keys.ts';
import { Problem } from '../../domain/errors.ts';
import type { Signing } from '../caller/signed-request.ts';
import { route } from '../server/route.ts';

const create = route({
  method: 'POST',
  path: '/api/keys',
  permission: 'keys',
  summary: 'Create an API key; only this answer contains it',
  event_type: 'key.created',
  body: NewKey,
  answer: { status: 201, schema: CreatedKey },
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
  summary: 'The API keys, without the keys themselves',
  answer: { status: 200, schema: KeyList },
  errors: [],
  handle: (_request, { keys }) => ({ json: { keys: keys.list().map(viewOf) } }),
});

const revoke = route({
  method: 'DELETE',
  path: '/api/keys/:id',
  permission: 'keys',
  summary: 'Revoke an API key; every server refuses it within seconds',
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
    'Signing keys are derived from REGISTRY_JWT_SECRET, which is not set on this registry.',
  );
}

function viewOf({ hash: _, ...shown }: KeyRecord): KeyView {
  return shown;
}

export const keyRoutes = [create, list, revoke];
