import type { Check } from '../../setup/check.ts';
import { clean, printLine } from './output.ts';

const MARKS = { ok: '✓', warning: '!', wrong: '✗', skipped: '-' };

/** One line for what was found, and one for what to do about it. */
export function printCheck({ name, status, detail, remedy }: Check): void {
  printLine(`${MARKS[status]} ${name}: ${clean(detail)}`);
  if (remedy) printLine(`    ${clean(remedy)}`);
}
