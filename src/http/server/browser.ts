/** What browsers are told with every answer: this is data, to be shown nowhere else. */
export function securityHeaders(publicUrl: URL | null): Record<string, string> {
  return {
    'X-Content-Type-Options': 'nosniff',
    'Content-Security-Policy': "default-src 'none'; frame-ancestors 'none'",
    'Referrer-Policy': 'no-referrer',
    'Cross-Origin-Resource-Policy': 'same-origin',
    // A browser heeds it over TLS only, and what terminates that may be a proxy (RFC 6797, section 8.1).
    ...(publicUrl?.protocol === 'https:' && { 'Strict-Transport-Security': 'max-age=31536000' }),
  };
}

const EXPOSED = 'ETag, Location, RateLimit, Registry-Revision, Registry-Stale, Repr-Digest, Retry-After, X-Request-Id';
const ACCEPTED = 'Authorization, Content-Type, Content-Digest, Idempotency-Key, If-None-Match, Range, X-Request-Id';

/** Lets pages of the listed origins read the answer, to requests with a token: cookies do not go there (Fetch, 3.3). */
export function corsHeaders(origin: string | undefined, allowed: readonly string[]): Record<string, string> {
  const readable = origin !== undefined && allowed.includes(origin);
  return {
    Vary: 'Accept, Origin',
    ...(readable && { 'Access-Control-Allow-Origin': origin, 'Access-Control-Expose-Headers': EXPOSED }),
  };
}

/** What a page may send, where a browser asks beforehand. */
export function preflightHeaders(methods: readonly string[]): Record<string, string> {
  return {
    'Access-Control-Allow-Methods': methods.join(', '),
    'Access-Control-Allow-Headers': ACCEPTED,
    'Access-Control-Max-Age': '600',
  };
}
