import { isLoopback } from '../../access/loopback.ts';
import { Problem } from '../../domain/errors.ts';
import { checkType } from '../server/body.ts';
import type { HttpContext } from '../server/context.ts';

const SAFE = new Set(['GET', 'HEAD', 'OPTIONS']);

/**
 * What a browser sends by itself it may send for another site's page. A cookie counts only at the registry's public
 * address, or, where none is configured, at one of this machine; and a command under it must come from a page of that very
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
    throw new Problem('foreign-origin', `Sessions are taken at ${where} only, and this was sent to ${host}.`);
  }
  if (SAFE.has(c.req.method)) return;
  const origin = c.req.header('origin') ?? '';
  if (origin !== own.origin) {
    throw new Problem(
      'foreign-origin',
      `A command by a session takes the origin ${own.origin}, not ${origin || 'none'}.`,
    );
  }
  // Any other method is not sent across sites unasked (Fetch standard, section 4.8).
  if (c.req.method === 'POST') checkType(c, 'application/json');
}

function localUrl(host: string): URL | null {
  const url = URL.parse(`http://${host}`);
  return url && isLoopback(url.hostname) ? url : null;
}

function isHostOf(host: string, { host: own, protocol }: URL): boolean {
  return URL.parse(`${protocol}//${host}`)?.host === own;
}
