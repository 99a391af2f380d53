import { visible, visibleJson } from '../../domain/visible.ts';
import { createRate } from './rate.ts';

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

/**
 * Returns a function that draws a progress bar if standard error is a terminal. `unit` formats the total; bytes, the
 * default, have a rate and the time left, too.
 */
export function progressBar(label: string, unit = megabytes): (done: number, total: number) => void {
  if (!process.stderr.isTTY) return () => {};
  const rate = unit === megabytes ? createRate() : null;
  let shown = '';
  let drawn = Number.NEGATIVE_INFINITY;
  return (done, total) => {
    const pace = rate?.(done) ?? null;
    const now = performance.now();
    if (done < total && now - drawn < DRAW_EVERY_MS) return;
    drawn = now;
    const line = progressLine(label, done, total, unit(total), pace);
    if (line !== shown) process.stderr.write(`\r${line.padEnd(shown.length)}${done >= total ? '\n' : ''}`);
    shown = line;
  };
}

const DRAW_EVERY_MS = 100;

/** @param pace bytes per second; null if it is not known or not shown */
export function progressLine(label: string, done: number, total: number, size: string, pace: number | null): string {
  const share = total === 0 ? 1 : done / total;
  const bar = '█'.repeat(Math.round(share * 30)).padEnd(30, '░');
  const line = `${label} ${bar} ${Math.floor(share * 100)} % of ${size}`;
  if (!pace || done >= total) return line;
  return `${line}, ${megabytes(pace)}/s, ${timeLeft((total - done) / pace)} left`;
}

function timeLeft(seconds: number): string {
  if (seconds < 60) return `${Math.ceil(seconds)} s`;
  const minutes = Math.ceil(seconds / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** Returns a function that adds bytes to a progress bar; `Infinity` ends it. */
export function transferBar(label: string, total: number): (bytes: number) => void {
  const draw = progressBar(label);
  let done = 0;
  return (bytes) => {
    if (done >= total) return; // what is listed may have grown
    done = Math.min(done + bytes, total);
    draw(done, total);
  };
}

export function revisions(count: number): string {
  return `${count} revisions`;
}

export function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}
