import { Problem, type ProblemCode } from '../../domain/errors.ts';

/** The result of one rule. `detail` says what is wrong, or what was found to be right. */
export type Check = { rule: string; ok: true; detail: string } | { rule: string; ok: false; refusal: Problem };

export function passed(rule: string, detail: string): Check {
  return { rule, ok: true, detail };
}

export function failed(rule: string, code: ProblemCode, detail: string, fields: Record<string, unknown> = {}): Check {
  return { rule, ok: false, refusal: new Problem(code, detail, fields) };
}

/**
 * Refuses a command if any of its checks failed: the first failed one gives the code. A dry run also lists all checks.
 *
 * @throws {Problem}
 */
export function refuseIfAnyFailed(checks: readonly Check[], dry_run = false): void {
  const first = checks.find((check) => !check.ok);
  if (!first) return;
  const { code, message, fields } = first.refusal;
  throw dry_run ? new Problem(code, message, { ...fields, checks: checks.map(checkView) }) : first.refusal;
}

/** A check as the API shows it. */
export function checkView(check: Check): { rule: string; ok: boolean; detail: string } {
  const { rule, ok } = check;
  return { rule, ok, detail: check.ok ? check.detail : check.refusal.message };
}
