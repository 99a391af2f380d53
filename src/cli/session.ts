import { type Command, Option } from 'commander';
import { clientTokens } from '../access/client-token.ts';
import { createClient, type RegistryClient } from '../client/client.ts';
import { clientVariables, readConfig } from '../config.ts';

export interface Session {
  client: RegistryClient;
  /** The address of the model's routes. */
  base: string;
  model: string;
}

/** The options that every verb that asks the registry takes. */
export function withSession(verb: Command): Command {
  return verb
    .addOption(new Option('-m, --model <name>', 'the model').default('default').env('REGISTRY_MODEL'))
    .option('--json', 'print the registry’s own answer');
}

export function openSession({ model }: { model: string }): Session {
  const config = readConfig(clientVariables, process.env);
  const client = createClient({ dsn: config.REGISTRY_DSN, token: clientTokens(config) });
  return { client, base: `/api/models/${encodeURIComponent(model)}`, model };
}
