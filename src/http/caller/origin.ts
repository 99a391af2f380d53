import { isLoopback } from '../../access/loopback.ts';
import { Problem } from '../../domain/errors.ts';
import { checkType } from '../server/body.ts';
import type { HttpContext } from '../server/context.ts';

const SAFE = new Set(['GET', 'HEAD', 'OPTIONS']);

/**
 * Refuses cookies that a browser may have sent for the page of another site. A cookie is valid only at the public
 * address of the registry, or, if none is set, at a loopback address. A command must also come from a page of that
 * address, as JSON, which no form can send.
 *
 * @throws {Problem} foreign-origin, unsupported-media-type
 */
export function checkOrigin(c: HttpContext, publicUrl: URL | null): void {
  const host = c.req.header('host') ?? '';
  const own = publicUrl ?? localUrl(host);
  if (!own || !isHostOf(host, own)) {
    const where = publicUrl
      ? `the public address ${publicUrl.host}`
      : 'a loopback address, as REGISTRY_PUBLIC_URL is not set';
    throw new Problem('foreign-origin', `Sessions are valid only at ${where}. This request was sent to ${host}.`);
  }
  if (SAFE.has(c.req.method)) return;
  const origin = c.req.header('origin') ?? '';
  if (origin !== own.origin) {
    throw new Problem(
      'foreign-origin',
      `Commands with a session need the Origin ${own.origin}. This request has ${origin || 'none'}.`,
    );
  }
  // Browsers send other methods to another site only after a preflight request (Fetch standard, section 4.8).
  if (c.req.method === 'POST') checkType(c, 'application/json');
}

function localUrl(host: string): URL | null {
  const url = URL.parse(`http://${host}`);
  return url && isLoopback(url.hostname) ? url : null;
}

function isHostOf(host: string, { host: own, protocol }: URL): boolean {
  return URL.parse(`${protocol}//${host}`)?.host === own;
}
