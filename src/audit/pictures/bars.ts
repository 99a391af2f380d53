import { type Lane, numberedVersions, type Span, spanOf } from './lanes.ts';

const LETTERS = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789';
const NONE = '·';

/** Draws lanes as text: one row per environment, of at most `width` columns, and a legend of the letters. */
export function bars(lanes: Lane[], span: Span, width: number): string[] {
  const label = Math.max(...lanes.map(({ environment }) => environment.length)) + 2;
  const cells = Math.max(width - label, 20);
  return [...Map.groupBy(lanes, ({ model }) => model)].flatMap(([model, own]) => {
    const numbers = numberedVersions(own);
    const rows = own.map((lane) => lane.environment.padEnd(label) + row(lane, span, cells, numbers));
    return [model, ...rows, ' '.repeat(label) + axis(span, cells), legend(numbers, width), ''].flat();
  });
}

function row({ tenures }: Lane, span: Span, cells: number, numbers: Map<string, number>): string {
  // Each cell shows the version that was active for most of it; `most` is that version's share.
  const most = new Array<number>(cells).fill(0);
  const shown = new Array<string>(cells).fill(' ');
  const size = (span.to - span.from || 1) / cells;
  for (const tenure of tenures) {
    const { from, to } = spanOf(tenure, span.to);
    const letter = tenure.version === null ? NONE : (LETTERS[numbers.get(tenure.version)!] ?? '#');
    const [first, last] = [(from - span.from) / size, (to - span.from) / size];
    for (let cell = Math.min(Math.floor(first), cells - 1); cell < Math.min(last, cells); cell++) {
      const filled = Math.min(last, cell + 1) - Math.max(first, cell);
      if (filled <= most[cell]!) continue;
      most[cell] = filled;
      shown[cell] = letter;
    }
  }
  return shown.join('');
}

function axis({ from, to }: Span, cells: number): string {
  const [first, last] = [from, to].map((at) => new Date(at).toISOString().slice(0, 16).replace('T', ' '));
  return `${first}${last!.padStart(Math.max(cells - first!.length, last!.length + 1))}`;
}

/** Returns lines of at most `width` columns. */
function legend(numbers: Map<string, number>, width: number): string[] {
  const entries = [...numbers].map(([version, number]) => `${LETTERS[number] ?? '#'} ${version}`);
  const lines: string[] = [];
  for (const entry of [...entries, `${NONE} none`]) {
    const line = lines.at(-1);
    if (line !== undefined && line.length + entry.length + 3 <= width) lines[lines.length - 1] = `${line}   ${entry}`;
    else lines.push(entry);
  }
  return lines;
}
