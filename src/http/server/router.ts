import type { Result } from 'hono/router';
import { PatternRouter } from 'hono/router/pattern-router';
import { BoundedMap } from '../../structures/bounded-map.ts';

/**
 * Hono's pattern router with a cache of the last thousand matches, as services request the same path all day. Hono's
 * fastest router does not support our paths.
 */
export class CachingRouter<T> extends PatternRouter<T> {
  override name = 'CachingRouter';
  readonly #matches = new BoundedMap<string, Result<T>>(1000);

  override match(method: string, path: string): Result<T> {
    const key = `${method} ${path}`;
    const cached = this.#matches.get(key);
    if (cached) return cached;
    const result = super.match(method, path);
    if (result[0].length > 0 && path.length <= 300) this.#matches.set(key, result);
    return result;
  }
}
