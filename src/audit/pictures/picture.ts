import type { Tenure } from '../reports/tenure.ts';
import { type Lane, type Span, spanOf } from './lanes.ts';
import { escaped } from './markup.ts';
import { paintOf } from './palette.ts';

const WIDTH = 1200;
const LABEL = 130;
const LANE = 30;
const GAP = 10;
const TOP = 12;
const CHARACTER = 7;

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const STEPS = [1, 5, 15]
  .map((n) => n * MINUTE)
  .concat(
    [1, 3, 6, 12].map((n) => n * HOUR),
    [1, 2, 7, 14, 30, 90, 365].map((n) => n * DAY),
  );

/** Draws the lanes of one model as SVG. Time runs from left to right, and each version has its own color. */
export function picture(lanes: Lane[], span: Span, numbers: Map<string, number>): string {
  const height = TOP + lanes.length * (LANE + GAP) + 18;
  const x = (at: number) => LABEL + ((at - span.from) / (span.to - span.from || 1)) * (WIDTH - LABEL);
  const rows = lanes.map((lane, i) => laneOf(lane, TOP + i * (LANE + GAP), x, span, numbers));
  return `<svg viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="Timeline of active versions of ${escaped(lanes[0]!.model)}">
<defs><pattern id="none" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><line class="hatch" y2="6" stroke-width="1"/></pattern><pattern id="dots" width="6" height="6" patternUnits="userSpaceOnUse"><circle cx="3" cy="3" r="1.2"/></pattern></defs>
${ticks(span, x, height)}
${rows.join('\n')}
</svg>`;
}

function laneOf(lane: Lane, y: number, x: (at: number) => number, span: Span, numbers: Map<string, number>): string {
  const label = `<text x="0" y="${y + LANE / 2 + 4}">${escaped(shortened(lane.environment, LABEL - 10))}</text>`;
  const ground = `<rect class="lane" x="${LABEL}" y="${y}" width="${WIDTH - LABEL}" height="${LANE}"/>`;
  const bars = lane.tenures.map((tenure) => barOf(tenure, y, x, span, numbers));
  const marks = lane.tenures
    .filter(({ began }) => began.type === 'version.rolled_back')
    .map(({ began }) => triangle(x(Date.parse(began.time)), y));
  return [label, ground, ...bars, ...marks].join('\n');
}

function barOf(tenure: Tenure, y: number, x: (at: number) => number, span: Span, numbers: Map<string, number>): string {
  const { version, began, ended } = tenure;
  const { from, to } = spanOf(tenure, span.to);
  // One unit of space before the next bar. At least 2 units wide, so that a short tenure stays visible.
  const width = Math.max(x(to) - x(from) - 1, 2);
  const place = `x="${number(x(from))}" y="${y}" width="${number(width)}" height="${LANE}"`;
  const title = `${version ?? 'none'}, ${began.time} – ${ended?.time ?? 'still'}, ${began.actor}: ${began.reason ?? '–'}`;
  const tooltip = `<title>${escaped(title)}</title>`;
  if (version === null) return `<rect ${place} fill="url(#none)">${tooltip}</rect>`;
  const { fill, text, dotted } = paintOf(numbers.get(version)!);
  const bar = `<rect class="bar" fill="${fill}" rx="3" ${place}>${tooltip}</rect>`;
  const dots = dotted ? `<rect fill="url(#dots)" rx="3" ${place} pointer-events="none"/>` : '';
  if (width < CHARACTER * version.length + 10) return bar + dots;
  const at = `x="${number(x(from) + 6)}" y="${y + LANE / 2 + 4}"`;
  // The stroke covers the dots around the letters.
  const label = `<text class="label" style="fill:${text};stroke:${fill}" ${at} pointer-events="none">${escaped(version)}</text>`;
  return bar + dots + label;
}

function triangle(x: number, y: number): string {
  return `<path class="mark" d="M${number(x - 5)} ${y - 8}h10l-5 8z"/>`;
}

function ticks({ from, to }: Span, x: (at: number) => number, height: number): string {
  const step = STEPS.find((size) => (to - from) / size <= 10) ?? Math.max(to - from, 1);
  const lines: string[] = [];
  for (let at = Math.ceil(from / step) * step; at <= to; at += step) {
    const time = new Date(at).toISOString();
    const label = step < DAY ? time.slice(5, 16).replace('T', ' ') : time.slice(0, 10);
    lines.push(
      `<line class="tick" x1="${number(x(at))}" x2="${number(x(at))}" y1="0" y2="${height - 16}"/>`,
      `<text class="soft" text-anchor="${x(at) > WIDTH - 40 ? 'end' : 'middle'}" x="${number(x(at))}" y="${height - 3}">${label}</text>`,
    );
  }
  return lines.join('\n');
}

function shortened(text: string, width: number): string {
  const most = Math.floor(width / CHARACTER);
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
}

function number(value: number): string {
  return value.toFixed(1);
}
