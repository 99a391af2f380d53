import type { Identity } from '../access/policy.ts';
import { Problem } from '../domain/errors.ts';
import type { HttpContext } from './route.ts';
import type { Services } from './services.ts';

/** The caller, by the credential that the request carries. @throws {Problem} unauthenticated */
export function identify(c: HttpContext, { verify }: Services): Identity | Promise<Identity> {
  const header = c.req.header('authorization') ?? '';
  if (!header.startsWith('Bearer ') && !/^bearer /i.test(header)) {
    throw new Problem('unauthenticated', 'Send a token as "Authorization: Bearer <token>".');
  }
  return verify(header.slice('Bearer '.length).trim());
}
