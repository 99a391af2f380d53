import { z } from 'zod';
import { type KeyRecord, newKey } from '../access/keys.ts';
import { Reach } from '../access/policy.ts';
import { route } from './route.ts';

const KeyView = z
  .object({
    id: z.string(),
    name: z.string(),
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
  expires_at: z.iso.datetime().nullable().default(null),
});

const create = route({
  method: 'POST',
  path: '/api/keys',
  permission: 'keys',
  summary: 'Make an API key; it is shown in this answer only',
  body: NewKey,
  answer: { status: 201, schema: KeyView.extend({ key: z.string() }) },
  errors: ['conflict', 'log-unavailable'],
  async handle({ body, actor }, { keys, now }) {
    const { key, id, hash } = newKey();
    const record = { id, hash, ...body, created_at: now().toISOString(), created_by: actor, last_used_at: null };
    await keys.add(record);
    return { status: 201, json: { ...viewOf(record), key }, log: { key: id, name: body.name } };
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
  params: z.object({ id: z.string().max(64) }),
  answer: { status: 204 },
  errors: ['unknown-key', 'log-unavailable'],
  async handle({ params }, { keys }) {
    await keys.revoke(params.id);
    return { status: 204, log: { key: params.id } };
  },
});

function viewOf({ hash: _, ...shown }: KeyRecord): z.infer<typeof KeyView> {
  return shown;
}

export const keyRoutes = [create, list, revoke];
