import { Command } from 'commander';
import type { ActiveView, VersionView } from '../api/views.ts';
import type { Artifact } from '../domain/manifest.ts';
import { spelled } from '../domain/requires.ts';
import { openConnection, withConnection } from './helpers/connection.ts';
import { WrongUsage } from './helpers/failure.ts';
import { clean, printJson, printLine } from './helpers/output.ts';

export function showCommand(): Command {
  return withConnection(new Command('show'))
    .description('show a version, or the active version of an environment')
    .argument('[version]')
    .option('-e, --env <environment>', 'show the active version of this environment')
    .option('--at <moment>', 'with --env: the version that was active at a time or a revision')
    .addHelpText(
      'after',
      `
Examples:
  signalbox show 1.2.0
  signalbox show --env production --at 2026-03-03T14:05:00Z`,
    )
    .action(async (version: string | undefined, { env: environment, at, json, ...options }) => {
      if ((version === undefined) === (environment === undefined)) throw new WrongUsage('Give a version or --env.');
      if (at !== undefined && version !== undefined) throw new WrongUsage('--at requires --env.');
      const { client, base } = openConnection(options);
      const path =
        version === undefined ? `${base}/versions/active` : `${base}/versions/${encodeURIComponent(version)}`;
      const state = await client.call<VersionView | ActiveView>('GET', path, { query: { environment, at } });
      if (json) return printJson(state);
      for (const [name, value] of describe(state)) if (value) printLine(`${`${name}:`.padEnd(14)}${clean(value)}`);
    });
}

function fileOf({ path, size, source }: Artifact): string {
  return `${path} (${size} bytes${source === undefined ? '' : ` at ${source}`})`;
}

export function describe(state: VersionView | ActiveView): [string, string][] {
  const { manifest } = state;
  const pairs = (fields: Record<string, unknown>) =>
    Object.entries(fields).map(([key, value]) => `${key} ${typeof value === 'object' ? JSON.stringify(value) : value}`);
  return [
    ['version', `${state.model} ${state.version} (${state.status})`],
    ['active in', state.active_in.join(', ')],
    ['activated', 'activated' in state ? `${state.activated.at} by ${state.activated.by}` : ''],
    ['because', 'activated' in state ? (state.activated.reason ?? '') : ''],
    ['published', `${state.published_at} by ${state.published_by}, revision ${state.revision}`],
    ['notes', state.notes],
    ['flavor', manifest.flavor],
    ['requires', spelled(manifest.requires).join(', ')],
    ['metrics', pairs(manifest.metrics).join(', ')],
    ['files', manifest.artifacts.map(fileOf).join(', ')],
    ['digest', state.manifest_digest],
  ];
}
