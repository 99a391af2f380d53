import { visible, visibleJson } from '../../domain/visible.ts';

// What others wrote into a registry must not drive this terminal. So nothing is written to it but through these.

/** Prints for programs: the answer as it came. */
export function printJson(value: unknown): void {
  process.stdout.write(`${visibleJson(JSON.stringify(value, null, 2))}\n`);
}

export function printLine(line: string): void {
  process.stdout.write(`${visible(line)}\n`);
}

/** Prints what has lines of its own. */
export function printLines(text: string): void {
  process.stdout.write(`${cleanLines(text)}\n`);
}

/** Tells something that is no part of the output. */
export function tell(text: string): void {
  process.stderr.write(`${cleanLines(text)}\n`);
}

/** Prints for people: aligned columns under their titles. */
export function printTable(titles: string[], rows: (string | number | null)[][]): void {
  const cells = [titles, ...rows].map((row) => row.map((cell) => clean(String(cell ?? '-'))));
  const widths = titles.map((_, column) => cells.reduce((most, row) => Math.max(most, row[column]!.length), 0));
  for (const row of cells) {
    printLine(
      row
        .map((cell, column) => cell.padEnd(widths[column]!))
        .join('  ')
        .trimEnd(),
    );
  }
}

/** What others wrote, as a part of one line. */
export function clean(text: string): string {
  return visible(text).trim();
}

/** The same for what has lines of its own, which may be indented. */
export function cleanLines(text: string): string {
  return text
    .split(/\r?\n/)
    .map((line) => visible(line).trimEnd())
    .join('\n');
}

/** A bar on a terminal, and nothing elsewhere; `unit` spells the total. */
export function progressBar(label: string, unit = megabytes): (sent: number, total: number) => void {
  if (!process.stderr.isTTY) return () => {};
  let shown = '';
  return (sent, total) => {
    const filled = Math.round((sent / total) * 30);
    const bar = '█'.repeat(filled).padEnd(30, '░');
    const line = `${label} ${bar} ${Math.floor((sent / total) * 100)} % of ${unit(total)}`;
    if (line !== shown) process.stderr.write(`\r${line}${sent >= total ? '\n' : ''}`);
    shown = line;
  };
}

export function revisions(count: number): string {
  return `${count} revisions`;
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}
