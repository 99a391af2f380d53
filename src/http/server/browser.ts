import { REDIRECT } from '../../api/redirect.ts';

/** Returns the headers that keep browsers from showing answers as pages or inside other pages. */
export function securityHeaders(publicUrl: URL | null): Record<string, string> {
  return {
    'X-Content-Type-Options': 'nosniff',
    'Content-Security-Policy': "default-src 'none'; frame-ancestors 'none'",
    'Referrer-Policy': 'no-referrer',
    'Cross-Origin-Resource-Policy': 'same-origin',
    // Browsers ignore it without TLS (RFC 6797, section 8.1), which a proxy may terminate.
    ...(publicUrl?.protocol === 'https:' && { 'Strict-Transport-Security': 'max-age=31536000' }),
  };
}

const EXPOSED = [
  'ETag, Location, RateLimit, Registry-Revision, Registry-Stale, Repr-Digest, Retry-After',
  'Upload-Complete, Upload-Offset, X-Request-Id',
].join(', ');
const ACCEPTED = [
  'Authorization, Content-Type, Content-Digest, Idempotency-Key, If-None-Match, Range, Registry-Min-Revision',
  'Upload-Complete, Upload-Offset, X-Request-Id',
].join(', ');

/** Lets pages of the listed origins read answers to requests with a token; cookies are not sent (Fetch, section 3.3). */
export function corsHeaders(origin: string | undefined, allowed: readonly string[]): Record<string, string> {
  const readable = origin !== undefined && allowed.includes(origin);
  return {
    Vary: `Accept, Origin, ${REDIRECT}`,
    ...(readable && { 'Access-Control-Allow-Origin': origin, 'Access-Control-Expose-Headers': EXPOSED }),
  };
}

/** Answers a preflight request. */
export function preflightHeaders(methods: readonly string[]): Record<string, string> {
  return {
    'Access-Control-Allow-Methods': methods.join(', '),
    'Access-Control-Allow-Headers': ACCEPTED,
    'Access-Control-Max-Age': '600',
  };
}
