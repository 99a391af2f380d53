import { Command, Option } from 'commander';
import type { CreatedKey, KeyList, KeyView } from '../api/keys.ts';
import { PERMISSIONS } from '../domain/permissions.ts';
import { openConnection } from './helpers/connection.ts';
import { WrongUsage } from './helpers/failure.ts';
import { notify, printJson, printLine, printTable } from './helpers/output.ts';

const A_DAY_MS = 24 * 3600_000;
const MAX_DAYS = 36_500;

export function keyCommand(): Command {
  return new Command('key')
    .description('manage API keys for services, limited by permission, model and environment')
    .addCommand(createCommand())
    .addCommand(listCommand())
    .addCommand(revokeCommand());
}

function createCommand(): Command {
  const allow = new Option('--allow <permissions...>', 'its permissions').choices(PERMISSIONS).makeOptionMandatory();
  return new Command('create')
    .description('create a key and print it; it cannot be shown again')
    .argument('<name>', 'the actor in its events, as key:<name>')
    .addOption(allow)
    .option('--signing', 'create a key that signs requests and bundles and is never sent itself')
    .option('--models <patterns...>', 'only for these models, such as fraud-*')
    .option('--envs <environments...>', 'only in these environments')
    .option('--days <count>', 'lifetime in days; default: no expiry', Number)
    .option('--json', 'print the registry’s response as JSON')
    .addHelpText('after', '\nExample:\n  signalbox key create scorer --allow read report --models fraud --days 365')
    .action(async (name: string, { allow, signing, models, envs: environments, days, json }) => {
      if (days !== undefined && !(days > 0 && days <= MAX_DAYS)) {
        throw new WrongUsage(`--days must be greater than 0 and at most ${MAX_DAYS}.`);
      }
      const expires_at = days === undefined ? null : new Date(Date.now() + days * A_DAY_MS).toISOString();
      const body = { name, signing, reach: { allow, models, environments }, expires_at };
      const made = await openConnection({ model: 'default' }).client.call<CreatedKey>('POST', '/api/keys', {
        json: body,
      });
      if (json) return printJson(made);
      notify(`Created key ${made.id} for ${name}. Copy it now; it cannot be shown again:`);
      printLine(made.key);
    });
}

function listCommand(): Command {
  return new Command('list')
    .description('list the keys')
    .option('--json', 'print the registry’s response as JSON')
    .action(async ({ json }) => {
      const found = await openConnection({ model: 'default' }).client.call<KeyList>('GET', '/api/keys');
      if (json) return printJson(found);
      const titles = ['ID', 'NAME', 'KIND', 'ALLOWS', 'MODELS', 'ENVIRONMENTS', 'EXPIRES', 'LAST USED', 'BY'];
      printTable(titles, found.keys.map(row));
    });
}

function row({ id, name, kind, reach, expires_at, last_used_at, created_by }: KeyView) {
  const { allow, models, environments } = reach;
  return [
    id,
    name,
    kind,
    allow.join(','),
    models.join(','),
    environments?.join(',') ?? null,
    expires_at,
    last_used_at,
    created_by,
  ];
}

function revokeCommand(): Command {
  return new Command('revoke')
    .description('revoke a key; every server refuses it within seconds')
    .argument('<id>')
    .action(async (id: string) => {
      await openConnection({ model: 'default' }).client.call('DELETE', `/api/keys/${encodeURIComponent(id)}`);
      printLine(`${id} is revoked.`);
    });
}
