import { SESSION_COOKIE } from '../../access/sessions.ts';
import { Problem } from '../../domain/errors.ts';
import type { HttpContext } from '../server/context.ts';

/** The session's cookie. @throws {Problem} unauthenticated where there are two: one of them is somebody else's */
export function sessionCookie(c: HttpContext): string | undefined {
  const header = c.req.header('cookie');
  if (header === undefined) return undefined;
  const prefix = `${SESSION_COOKIE}=`;
  const [cookie, another] = header
    .split(';')
    .map((pair) => pair.trim())
    .filter((pair) => pair.startsWith(prefix));
  if (another !== undefined) throw new Problem('unauthenticated', 'There are two session cookies.');
  return cookie?.slice(prefix.length);
}
