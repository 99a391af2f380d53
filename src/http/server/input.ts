import { parse as parseQuery } from 'node:querystring';
import type { z } from 'zod';
import { Problem } from '../../domain/errors.ts';
import { BoundedMap } from '../../structures/bounded-map.ts';
import type { HttpContext } from './context.ts';
import { cut } from './problem.ts';
import type { Route } from './route.ts';

/** What an address says, in the shapes that its route asks for. */
export interface Named {
  params: unknown;
  query: unknown;
}

const MAX_REMEMBERED_LENGTH = 300;

/**
 * Reads path and query of a route's requests. The last thousand addresses that were right are remembered: services ask
 * for the same one all day, and checking it costs more than answering. What it returns is not to be changed.
 *
 * @throws {Problem} invalid-request
 */
export function addressReader(route: Route): (c: HttpContext) => Named {
  const remembered = new BoundedMap<string, Named>(1000);
  return (c) => {
    const { url } = c.req;
    const known = remembered.get(url);
    if (known) return known;
    const params = route.params ? check(route.params, c.req.param(), 'path') : {};
    const query = route.query ? check(route.query, queryOf(url), 'query') : {};
    if (url.length <= MAX_REMEMBERED_LENGTH) remembered.set(url, { params, query });
    return { params, query };
  };
}

/** A parameter that comes twice is an array, which no schema takes. */
function queryOf(url: string): unknown {
  const start = url.indexOf('?');
  return start === -1 ? {} : parseQuery(url.slice(start + 1));
}

const MAX_ERRORS = 20;
const MAX_ERROR_LENGTH = 300;

/** @throws {Problem} invalid-request, naming the first fields that are wrong */
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
