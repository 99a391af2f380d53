import type { Check } from '../../setup/check.ts';
import { clean, printLine } from './output.ts';

const MARKS = { ok: '✓', warning: '!', wrong: '✗', skipped: '-' };

/** Prints a check on one line, and its remedy, if any, on a second line. */
export function printCheck({ name, status, detail, remedy }: Check): void {
  printLine(`${MARKS[status]} ${name}: ${clean(detail)}`);
  if (remedy) printLine(`    ${clean(remedy)}`);
}
