import {
  type Active,
  type Convergence,
  type FleetView,
  hasFailed,
  type LoaderView,
  whyNot,
} from '../../domain/fleet.ts';
import { clean } from './output.ts';

export function activeOf({ active, manifest_digest, revision }: Convergence): Active | null {
  if (active === null || manifest_digest === null) return null;
  return { version: active, manifest_digest, ...(revision !== null && { revision }) };
}

/** How many are there, such as `11 of 12 on 1.2.0`; `loaders` where it is not plain what is counted. */
export function progressOf({ active, total, converged }: Convergence, loaders = ''): string {
  const count = `${converged} of ${total}${loaders}`;
  return active === null ? `${count} know that nothing is active` : `${count} on ${active}`;
}

/** Everyone who does not serve what is active, and why. */
export function laggards(loaders: readonly LoaderView[], active: Active | null): { loader: LoaderView; why: string }[] {
  return loaders.flatMap((loader) => {
    const why = whyNot(loader, active);
    return why === null ? [] : [{ loader, why: clean(`${loader.instance}: ${why}`) }];
  });
}

const MAX_NAMED = 3;

/** One environment in one line: how many serve what is active, who failed, and who is not there yet. */
export function summaryOf(environment: string, { loaders, environments }: FleetView): string {
  const convergence = environments[environment]!;
  const own = loaders.filter((loader) => loader.environment === environment);
  const behind = laggards(own, activeOf(convergence));
  const failed = behind.filter(({ loader }) => hasFailed(loader));
  const others = behind.filter(({ loader }) => !hasFailed(loader));
  const parts = [progressOf(convergence), ...told(failed, 'failed'), ...told(others, 'not yet')];
  return `${environment}: ${parts.join('; ')}`;
}

function told(behind: ReturnType<typeof laggards>, how: string): string[] {
  if (behind.length === 0) return [];
  const named = behind.slice(0, MAX_NAMED).map(({ why }) => why);
  const more = behind.length - named.length;
  return [`${behind.length} ${how}: ${[...named, ...(more > 0 ? [`and ${more} more`] : [])].join(' · ')}`];
}
