import { cleanLines } from './output.ts';

/** Prints RFC 4180 text: a header line with the column names, then one line per record. */
export function printCsv(columns: string[], records: Record<string, unknown>[]): void {
  const lines = [columns, ...records.map((record) => columns.map((column) => cellOf(record[column])))];
  process.stdout.write(lines.map((line) => `${line.map(quoted).join(',')}\r\n`).join(''));
}

function cellOf(value: unknown): string {
  if (value === null || value === undefined) return '';
  if (typeof value === 'string') return cleanLines(inert(value));
  return typeof value === 'object' ? cleanLines(inert(JSON.stringify(value))) : String(value);
}

/** Prefixes text that a spreadsheet would run as a formula. */
function inert(text: string): string {
  return /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
}

function quoted(cell: string): string {
  return /[",\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell;
}
