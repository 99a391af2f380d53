import { formatDuration } from '../duration.ts';
import { type MoveMade, secondsOf, type Tenure } from '../reports/tenure.ts';
import { type Lane, numberedVersions, type Span } from './lanes.ts';
import { escaped } from './markup.ts';
import { paintOf } from './palette.ts';
import { picture } from './picture.ts';

export interface Timeline {
  lanes: Lane[];
  span: Span;
  /** The log's name. */
  name: string;
  /** The last revision that was read. */
  revision: number;
  /** Violations in the history, one sentence each. A model's timeline ends at its violation. */
  findings: string[];
}

/** Renders a self-contained HTML page, without scripts and without other files. */
export function timelinePage({ lanes, span, name, revision, findings }: Timeline): string {
  const models = [...Map.groupBy(lanes, ({ model }) => model)].map(([model, own]) => section(model, own, span));
  const nothing = lanes.length === 0 ? '<p>No version was ever active.</p>' : '';
  const warnings = findings.map((what) => `<p class="finding">${escaped(what)}</p>`).join('\n');
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Timeline of active versions</title>
<style>${STYLE}</style>
</head>
<body>
<h1>Timeline of active versions</h1>
<p>${escaped(name)}, up to revision ${revision}. All times are in UTC.</p>
${warnings}${nothing}${models.join('\n')}
</body>
</html>
`;
}

function section(model: string, lanes: Lane[], span: Span): string {
  const numbers = numberedVersions(lanes);
  const rows = lanes.flatMap((lane) => [...lane.tenures].reverse().map((tenure) => row(tenure, span, numbers)));
  return `<section>
<h2>${escaped(model)}</h2>
<div class="picture">${picture(lanes, span, numbers)}</div>
<p class="legend"><span class="mark">▼</span> rollback to this version &nbsp; hatched: no active version &nbsp; dotted: another version with a color that is already used</p>
<table>
<thead><tr><th>Environment</th><th>Version</th><th>From</th><th>To</th><th>Duration</th><th>By</th><th>Began</th><th>Ended</th></tr></thead>
<tbody>
${rows.join('\n')}
</tbody>
</table>
</section>`;
}

function row(tenure: Tenure, span: Span, numbers: Map<string, number>): string {
  const { environment, version, began, ended } = tenure;
  const swatch = version === null ? '' : swatchOf(numbers.get(version)!);
  const cells = [
    escaped(environment),
    version === null ? '<em>none</em>' : swatch + escaped(version),
    `${minute(began.time)} <small>${began.revision}</small>`,
    ended ? `${minute(ended.time)} <small>${ended.revision}</small>` : 'still',
    formatDuration(secondsOf(tenure, span.to)),
    escaped(began.actor),
    `${VERBS[began.type]}${began.reason === null ? '' : `: ${escaped(began.reason)}`}`,
    ended ? endOf(ended) : '',
  ];
  return `<tr>${cells.map((cell) => `<td>${cell}</td>`).join('')}</tr>`;
}

function swatchOf(number: number): string {
  const { fill, dotted } = paintOf(number);
  return `<i${dotted ? ' class="dotted"' : ''} style="background-color:${fill}"></i>`;
}

const VERBS: Record<MoveMade['type'], string> = {
  'version.activated': 'activated',
  'version.rolled_back': '<b>rolled back</b>',
  'version.deactivated': 'deactivated',
};

function endOf({ type, actor, reason }: MoveMade): string {
  const how = type === 'version.activated' ? 'replaced' : VERBS[type];
  return `${how} by ${escaped(actor)}${reason === null ? '' : `: ${escaped(reason)}`}`;
}

function minute(time: string): string {
  return time.slice(0, 16).replace('T', ' ');
}

const STYLE = `
:root { color-scheme: light dark; --ink: #1c2430; --soft: #667085; --line: #d8dee8; --paper: #fff; --lane: #f2f4f8; --alarm: #c0262d }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6eaf0; --soft: #98a2b3; --line: #333c4a; --paper: #12161d; --lane: #1b212b; --alarm: #ff7a7a }
}
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 80rem; padding: 2rem 1.5rem; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, sans-serif }
h1 { font-size: 1.5rem; margin: 0 } h2 { font-size: 1.15rem; margin: 2.5rem 0 .5rem }
p { color: var(--soft); margin: .25rem 0 } .finding, .mark { color: var(--alarm) }
.picture { overflow-x: auto } svg { display: block; width: 100%; min-width: 44rem; height: auto; font: 12px system-ui, sans-serif }
svg text { fill: var(--ink) } svg .soft { fill: var(--soft) } svg .lane { fill: var(--lane) } svg .tick { stroke: var(--line) }
svg .bar { stroke: var(--soft); stroke-width: .5 } svg .label { stroke-width: 4px; paint-order: stroke } svg #dots { fill: #111; fill-opacity: .5 } svg .mark { fill: var(--alarm) } svg .hatch { stroke: var(--soft) }
.legend { font-size: .85rem }
table { border-collapse: collapse; width: 100%; margin-top: 1rem; font-size: .87rem; font-variant-numeric: tabular-nums }
th, td { text-align: left; vertical-align: top; padding: .35rem .6rem; border-bottom: 1px solid var(--line) }
th { color: var(--soft); font-weight: 600; position: sticky; top: 0; background: var(--paper) } th, td:nth-child(-n+5) { white-space: nowrap } td:nth-child(n+6) { overflow-wrap: anywhere; min-width: 5rem }
td small { color: var(--soft) } td i { display: inline-block; width: .7em; height: .7em; margin-right: .45em; border-radius: 2px } td .dotted { background-image: radial-gradient(#1119 26%, transparent 30%); background-size: .35em .35em }
`;
