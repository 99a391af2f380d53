import { z } from 'zod';
import { PERMISSIONS } from '../../access/permissions.ts';
import { route } from '../server/route.ts';

const identity = route({
  method: 'GET',
  path: '/api/identity',
  permission: 'identified',
  summary: 'Who the credential says is calling, and what it allows somewhere at least',
  query: z.object({ model: z.string().optional() }),
  answer: { status: 200, schema: z.object({ actor: z.string(), permissions: z.array(z.enum(PERMISSIONS)) }) },
  errors: [],
  handle({ actor, may, query: { model } }) {
    return { json: { actor, permissions: PERMISSIONS.filter((permission) => may({ permission, model })) } };
  },
});

export const identityRoutes = [identity];
