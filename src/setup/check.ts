import { clause } from '../domain/clause.ts';

/** One thing that was looked at: what was found, and what to do where that is not as it should be. */
export interface Check {
  name: string;
  status: 'ok' | 'warning' | 'wrong' | 'skipped';
  detail: string;
  remedy?: string;
}

export function ok(name: string, detail: string): Check {
  return { name, status: 'ok', detail };
}

export function warning(name: string, detail: string, remedy: string): Check {
  return { name, status: 'warning', detail, remedy };
}

export function wrong(name: string, detail: string, remedy: string): Check {
  return { name, status: 'wrong', detail, remedy };
}

/** What cannot be looked at here, and why that is no fault. */
export function skipped(name: string, detail: string): Check {
  return { name, status: 'skipped', detail };
}

export function isWrong({ status }: Check): boolean {
  return status === 'wrong';
}

const MAX_NAMED = 5;

/** The first five, and how many more there are. */
export function listed(all: readonly string[]): string {
  const more = all.length - MAX_NAMED;
  return [...all.slice(0, MAX_NAMED).map(clause), ...(more > 0 ? [`and ${more} more`] : [])].join('; ');
}
