import {
  type Active,
  type Convergence,
  type FleetView,
  hasFailed,
  type LoaderView,
  whyNot,
} from '../../domain/fleet.ts';
import { atMost } from '../../structures/at-most.ts';
import { clean } from './output.ts';

export function activeOf({ active, manifest_digest, revision }: Convergence): Active | null {
  if (active === null || manifest_digest === null) return null;
  return { version: active, manifest_digest, ...(revision !== null && { revision }) };
}

/** How many loaders have converged, such as `11 of 12 on 1.2.0`, or with a `noun` `11 of 12 loaders on 1.2.0`. */
export function progressOf({ active, total, converged }: Convergence, noun = ''): string {
  const count = `${converged} of ${total}${noun && ` ${noun}`}`;
  return active === null ? `${count} are up to date (nothing is active)` : `${count} on ${active}`;
}

/** The loaders that do not serve the active version, each with the reason. */
export function laggards(loaders: readonly LoaderView[], active: Active | null): { loader: LoaderView; why: string }[] {
  return loaders.flatMap((loader) => {
    const why = whyNot(loader, active);
    return why === null ? [] : [{ loader, why: clean(`${loader.instance}: ${why}`) }];
  });
}

const MAX_NAMED = 3;

/** Summarizes an environment in one line: how many loaders have converged, which failed, and which are still on the way. */
export function summaryOf(environment: string, { loaders, environments }: FleetView): string {
  const convergence = environments[environment]!;
  const own = loaders.filter((loader) => loader.environment === environment);
  const behind = laggards(own, activeOf(convergence));
  const failed = behind.filter(({ loader }) => hasFailed(loader));
  const others = behind.filter(({ loader }) => !hasFailed(loader));
  const parts = [progressOf(convergence), ...named(failed, 'failed'), ...named(others, 'not yet')];
  return `${environment}: ${parts.join('; ')}`;
}

function named(behind: ReturnType<typeof laggards>, state: string): string[] {
  if (behind.length === 0) return [];
  const reasons = behind.map(({ why }) => why);
  return [`${behind.length} ${state}: ${atMost(reasons, MAX_NAMED).join(' · ')}`];
}
