import { z } from 'zod';
import { IdentityView } from '../../api/identity.ts';
import { PERMISSIONS } from '../../domain/permissions.ts';
import { route } from '../server/route.ts';

const identity = route({
  method: 'GET',
  path: '/api/identity',
  permission: 'identified',
  summary: 'The caller, and each permission that it has for some model and environment',
  query: z.object({ model: z.string().optional() }),
  answer: { status: 200, schema: IdentityView },
  errors: [],
  handle({ actor, may, query: { model } }) {
    return { json: { actor, permissions: PERMISSIONS.filter((permission) => may({ permission, model })) } };
  },
});

export const identityRoutes = [identity];
