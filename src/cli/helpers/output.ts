import { visible, visibleJson } from '../../domain/visible.ts';

// Text from a registry must not control the terminal, so all output goes through these functions.

export function printJson(value: unknown): void {
  process.stdout.write(`${visibleJson(JSON.stringify(value, null, 2))}\n`);
}

export function printLine(line: string): void {
  process.stdout.write(`${visible(line)}\n`);
}

/** Prints text of several lines. */
export function printLines(text: string): void {
  process.stdout.write(`${cleanLines(text)}\n`);
}

/** Prints a message to standard error: it is not part of the output. */
export function notify(text: string): void {
  process.stderr.write(`${cleanLines(text)}\n`);
}

/** Prints aligned columns under their titles. */
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

/** Makes foreign text safe to print as part of one line. */
export function clean(text: string): string {
  return visible(text).trim();
}

/** Makes foreign text of several lines, which may be indented, safe to print. */
export function cleanLines(text: string): string {
  return text
    .split(/\r?\n/)
    .map((line) => visible(line).trimEnd())
    .join('\n');
}

/** Returns a function that draws a progress bar if standard error is a terminal; `unit` formats the total. */
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
