import { clause } from '../domain/clause.ts';
import { atMost } from '../structures/at-most.ts';

/** The result of checking one part of an installation: what was found, and what to do about a problem. */
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

/** A part that cannot be checked here; `detail` is the reason. */
export function skipped(name: string, detail: string): Check {
  return { name, status: 'skipped', detail };
}

export function isWrong({ status }: Check): boolean {
  return status === 'wrong';
}

const MAX_NAMED = 5;

/** Joins the first five items, and states how many more there are. */
export function listed(all: readonly string[]): string {
  return atMost(all.map(clause), MAX_NAMED).join('; ');
}
