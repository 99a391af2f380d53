import { Command, Option } from 'commander';
import { MAX_COUNT } from '../api/page.ts';
import type { ModelView, VersionView } from '../api/views.ts';
import type { RegistryClient } from '../client/client.ts';
import { openConnection, withConnection } from './helpers/connection.ts';
import { printJson, printLine, printTable } from './helpers/output.ts';
import { count, pages, type Query } from './helpers/pages.ts';

const EXAMPLES = [
  '--active',
  '--at 2026-03-03T14:05:00Z',
  '--models --json',
  `--where "metrics.auc > 0.9 and tags.team = 'risk'" --order-by "metrics.auc desc"`,
];

export function listCommand(): Command {
  return withConnection(new Command('list'))
    .description('list the versions of a model, newest first, or every model')
    .option('--models', 'list models')
    .option('--active', 'only versions that are active somewhere')
    .option('--archived', 'only archived versions')
    .option('--where <filter>', 'only those that a filter matches (docs/search.md)')
    .option('--order-by <fields>', 'up to three fields, each with asc or desc')
    .option('--count', 'print only how many there are')
    .addOption(new Option('--at <moment>', 'the versions as they were at a time or a revision').conflicts('models'))
    .option('-n, --limit <count>', 'maximum number of entries', count, 100)
    .addHelpText('after', `\nExamples:\n${EXAMPLES.map((example) => `  signalbox list ${example}`).join('\n')}`)
    .action(
      async ({ models, active, archived, at, where, orderBy: order_by, count: counting, limit, json, ...options }) => {
        const { client, base } = openConnection(options);
        const search = { where, order_by };
        const path = models ? '/api/models' : `${base}/versions`;
        const query = models
          ? search
          : { ...search, active_flag: active, status: archived ? 'archived' : undefined, at };
        if (counting) return printCount(client, path, query, json);
        if (models) {
          const found = await pages<ModelView>(client, path, 'models', query, limit);
          if (json) return printJson({ models: found });
          return printTable(['MODEL', 'LATEST', 'VERSIONS', 'ACTIVE'], found.map(modelRow));
        }
        const found = await pages<VersionView>(client, path, 'versions', query, limit);
        if (json) return printJson({ versions: found });
        printTable(['VERSION', 'STATUS', 'ACTIVE IN', 'PUBLISHED', 'BY', 'NOTES'], found.map(versionRow));
      },
    );
}

/** Prints how many entries a list has; from 10,000 on, they are not counted exactly. */
async function printCount(client: RegistryClient, path: string, query: Query, json: boolean): Promise<void> {
  const asked = { ...query, count: true, page_size: 1 };
  const { count } = await client.call<{ count: number }>('GET', path, { query: asked });
  if (json) return printJson({ count });
  printLine(count < MAX_COUNT ? `${count}` : `${MAX_COUNT} or more`);
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
