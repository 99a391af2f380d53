import { Command } from 'commander';
import type { ComparisonView } from '../api/comparison.ts';
import type { Artifact } from '../domain/manifest.ts';
import { openConnection, withConnection } from './helpers/connection.ts';
import { notify, printJson, printLine, printTable } from './helpers/output.ts';

type Field = ComparisonView['fields'][number];

export function diffCommand(): Command {
  return withConnection(new Command('diff'))
    .description('compare versions of a model: metrics, params, tags, requirements, files, notes, …')
    .argument('<version>')
    .argument('<others...>')
    .option('--all', 'also the fields that are the same')
    .addHelpText(
      'after',
      `
A metric is followed by its difference to the first version. Of a file, the beginning of its SHA-256 is shown.

Examples:
  signalbox diff 1.0.0 1.1.0
  signalbox diff 1.0.0 1.1.0 1.2.0 --all --json`,
    )
    .action(async (first: string, others: string[], { all, json, ...options }) => {
      const { client, base } = openConnection(options);
      const query = { versions: [first, ...others].join(','), differing: all ? undefined : true };
      const comparison = await client.call<ComparisonView>('GET', `${base}/compare`, { query });
      if (json) return printJson(comparison);
      const { versions, same_content, complete, fields } = comparison;
      printTable(
        ['FIELD', ...versions],
        fields.map((field) => [field.field, ...versions.map((version) => cellOf(field, version))]),
      );
      if (same_content) printLine('The content of these versions is the same.');
      if (!complete) notify('Fields are missing here: there are too many for one answer.');
    });
}

function cellOf({ field, values, difference }: Field, version: string): string | null {
  const value = values[version];
  if (value === undefined) return null;
  if (field.startsWith('files.')) return fileCell(value as Pick<Artifact, 'digest' | 'size' | 'source'>);
  const by = difference?.[version] ?? 0;
  return by === 0 ? shortened(value) : `${shortened(value)} (${by > 0 ? '+' : ''}${Number(by.toPrecision(6))})`;
}

function fileCell({ digest, size, source }: Pick<Artifact, 'digest' | 'size' | 'source'>): string {
  return `${digest.replace('sha256:', '').slice(0, 12)} (${size} bytes)${source === undefined ? '' : ` at ${source}`}`;
}

const MAX_CELL = 48;

function shortened(value: unknown): string {
  const text = typeof value === 'string' && value !== '' ? value : JSON.stringify(value);
  return text.length <= MAX_CELL ? text : `${text.slice(0, MAX_CELL).toWellFormed()}…`;
}
