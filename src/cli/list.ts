import { Command, Option } from 'commander';
import type { ModelView, VersionView } from '../api/views.ts';
import { openConnection, withConnection } from './helpers/connection.ts';
import { printJson, printTable } from './helpers/output.ts';
import { count, pages } from './helpers/pages.ts';

export function listCommand(): Command {
  return withConnection(new Command('list'))
    .description('list the versions of a model, newest first, or every model')
    .option('--models', 'list models')
    .option('--active', 'only versions that are active somewhere')
    .option('--archived', 'only archived versions')
    .addOption(new Option('--at <moment>', 'the versions as they were at a time or a revision').conflicts('models'))
    .option('-n, --limit <count>', 'maximum number of entries', count, 100)
    .addHelpText(
      'after',
      '\nExamples:\n  signalbox list --active\n  signalbox list --at 2026-03-03T14:05:00Z\n  signalbox list --models --json',
    )
    .action(async ({ models, active, archived, at, limit, json, ...options }) => {
      const { client, base } = openConnection(options);
      if (models) {
        const found = await pages<ModelView>(client, '/api/models', 'models', {}, limit);
        if (json) return printJson({ models: found });
        return printTable(['MODEL', 'LATEST', 'VERSIONS', 'ACTIVE'], found.map(modelRow));
      }
      const query = { active_flag: active, status: archived ? 'archived' : undefined, at };
      const found = await pages<VersionView>(client, `${base}/versions`, 'versions', query, limit);
      if (json) return printJson({ versions: found });
      printTable(['VERSION', 'STATUS', 'ACTIVE IN', 'PUBLISHED', 'BY', 'NOTES'], found.map(versionRow));
    });
}

function modelRow({ model, latest, versions, active }: ModelView) {
  const where = Object.entries(active).flatMap(([environment, version]) =>
    version ? `${environment}=${version}` : [],
  );
  return [model, latest, versions, where.join(' ') || null];
}

function versionRow({ version, status, active_in, published_at, published_by, notes }: VersionView) {
  return [version, status, active_in.join(',') || null, published_at, published_by, notes.slice(0, 60)];
}
