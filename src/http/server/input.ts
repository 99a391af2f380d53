import { parse as parseQuery } from 'node:querystring';
import type { z } from 'zod';
import { Problem } from '../../domain/errors.ts';
import { BoundedMap } from '../../structures/bounded-map.ts';
import type { HttpContext } from './context.ts';
import { cut } from './problem.ts';
import type { Route } from './route.ts';

/** The path and query of a request, parsed by the schemas of its route. */
export interface Address {
  params: unknown;
  query: unknown;
}

const MAX_CACHED_LENGTH = 300;

/**
 * Returns a function that parses path and query, and throws `invalid-request`. `admit` may refuse the caller for the path,
 * before anything is said about the query. The last thousand valid addresses are
 * cached, as services repeat one all day and checking costs more than answering. Callers must not change the result.
 */
export function addressReader(route: Route): (c: HttpContext, admit: (params: unknown) => void) => Address {
  const cached = new BoundedMap<string, Address>(1000);
  return (c, admit) => {
    const { url } = c.req;
    const address = cached.get(url);
    if (address) return address;
    const params = route.params ? check(route.params, c.req.param(), 'path') : {};
    admit(params);
    const query = route.query ? check(route.query, queryOf(url), 'query') : {};
    if (url.length <= MAX_CACHED_LENGTH) cached.set(url, { params, query });
    return { params, query };
  };
}

/** A repeated parameter becomes an array, which every schema refuses. */
function queryOf(url: string): unknown {
  const start = url.indexOf('?');
  return start === -1 ? {} : parseQuery(url.slice(start + 1));
}

const MAX_ERRORS = 20;
const MAX_ERROR_LENGTH = 300;

/** Parses `value`. @throws {Problem} invalid-request, with the first invalid fields */
export function check<T>(schema: z.ZodType<T>, value: unknown, where: string): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const { issues } = result.error;
  const errors = issues.slice(0, MAX_ERRORS).map(({ path, message }) => ({
    field: cut(path.join('.'), MAX_ERROR_LENGTH),
    message: cut(message, MAX_ERROR_LENGTH),
  }));
  const listed = errors.map(({ field, message }) => (field ? `${field}: ${message}` : message)).join('; ');
  const more = issues.length > MAX_ERRORS ? `; and ${issues.length - MAX_ERRORS} more` : '';
  throw new Problem('invalid-request', `The ${where} is not valid: ${listed}${more}.`, { in: where, errors });
}
