import { Problem } from '../../domain/errors.ts';
import { ANONYMOUS, type Caller } from '../caller/caller.ts';
import { identify } from '../caller/identify.ts';
import type { Services } from '../services.ts';
import type { Exchange } from './exchange.ts';
import type { Route } from './route.ts';

/** Returns the stage that identifies the caller of a request and charges the caller's limit for it. */
export function authenticator({ permission }: Route, services: Services) {
  return (exchange: Exchange): Caller | Promise<Caller> => {
    const admit = (caller: Caller) => {
      exchange.actor = caller.actor;
      if ('session' in caller) exchange.session = caller;
      charge(exchange, caller, services);
    };
    if (permission) return identify(exchange.c, services, admit);
    admit(ANONYMOUS);
    return ANONYMOUS;
  };
}

/** Charges the caller, or without a caller the address, for one request. @throws {Problem} too-many-requests */
function charge({ c, headers }: Exchange, caller: Caller, { limiter, callerAddress }: Services): void {
  if (!limiter) return;
  // No actor's name begins with a space.
  const { allowed, remaining, reset } = limiter.take(caller === ANONYMOUS ? ` ${callerAddress(c)}` : caller.actor);
  const { quota, window } = limiter;
  // draft-ietf-httpapi-ratelimit-headers-11
  headers.RateLimit = `"requests";r=${remaining};t=${reset}`;
  if (allowed) return;
  headers['RateLimit-Policy'] = `"requests";q=${quota};w=${window}`;
  const detail = `${caller.actor} may send ${quota} requests in ${window} s. Send the next one in ${reset} s.`;
  throw new Problem('too-many-requests', detail, { retry_after: reset });
}
