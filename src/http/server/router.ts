import type { Result } from 'hono/router';
import { PatternRouter } from 'hono/router/pattern-router';
import { BoundedMap } from '../../structures/bounded-map.ts';

/**
 * Hono's router of patterns (its fastest one does not take our paths), which remembers what the last thousand paths
 * matched: services ask for the same one all day.
 */
export class RememberingRouter<T> extends PatternRouter<T> {
  override name = 'RememberingRouter';
  readonly #matched = new BoundedMap<string, Result<T>>(1000);

  override match(method: string, path: string): Result<T> {
    const asked = `${method} ${path}`;
    const known = this.#matched.get(asked);
    if (known) return known;
    const result = super.match(method, path);
    if (result[0].length > 0 && path.length <= 300) this.#matched.set(asked, result);
    return result;
  }
}
