import { z } from 'zod';
import type { Session } from '../../access/sessions.ts';
import { SessionView } from '../../api/session.ts';
import { Problem } from '../../domain/errors.ts';
import { route } from '../server/route.ts';

const begin = route({
  method: 'POST',
  path: '/api/session',
  permission: 'identified',
  summary: 'Sign in: exchange a token for a cookie that scripts in a page cannot read',
  event_type: 'session.begun',
  body: z.strictObject({}),
  answer: { status: 201, schema: SessionView },
  errors: ['invalid-request'],
  async handle({ identity }, { sessions }) {
    if (identity.reaches || 'session' in identity) {
      throw new Problem('invalid-request', 'Sign in with a personal token, not with an API key or a session.');
    }
    const { cookie, session } = await sessions.begin(identity);
    return { status: 201, headers: { 'Set-Cookie': cookie, 'Cache-Control': 'no-store' }, json: viewOf(session) };
  },
});

const end = route({
  method: 'DELETE',
  path: '/api/session',
  permission: null,
  summary: 'Sign out',
  event_type: 'session.ended',
  answer: { status: 204 },
  errors: [],
  handle: (_request, { sessions }) => ({ status: 204, headers: { 'Set-Cookie': sessions.end() } }),
});

function viewOf({ actor, role, groups, session: { expires_at, ends_at } }: Session): SessionView {
  return { actor, role, groups: [...groups], expires_at: expires_at.toISOString(), ends_at: ends_at.toISOString() };
}

export const sessionRoutes = [begin, end];
