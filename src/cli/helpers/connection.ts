import { randomBytes } from 'node:crypto';
import { type Command, Option } from 'commander';
import { clientTokens } from '../../access/client-token.ts';
import { signRequest } from '../../access/signatures.ts';
import { parseSigningKey, type SigningKey } from '../../access/signing-key.ts';
import { createClient, type RegistryClient, type Unsigned } from '../../client/client.ts';
import { type ClientConfig, clientVariables, readConfig } from '../../config.ts';
import { WrongUsage } from './failure.ts';

export interface Connection {
  client: RegistryClient;
  /** The path of the model's routes. */
  base: string;
  model: string;
}

/** Adds the options of every command that calls the registry. */
export function withConnection(command: Command): Command {
  return command
    .addOption(new Option('-m, --model <name>', 'the model').default('default').env('REGISTRY_MODEL'))
    .option('--json', 'print the registry’s response as JSON');
}

export function openConnection({ model }: { model: string }): Connection {
  const client = clientFor(readConfig(clientVariables, process.env));
  return { client, base: `/api/models/${encodeURIComponent(model)}`, model };
}

/** Creates a client with the configured credential. @throws {WrongUsage} as `readSigningKey` */
export function clientFor(config: ClientConfig): RegistryClient {
  const sign = config.REGISTRY_SIGNING_KEY === undefined ? {} : { sign: signer(readSigningKey(config)) };
  return createClient({ dsn: config.REGISTRY_DSN, token: clientTokens(config), ...sign });
}

/** @throws {WrongUsage} if REGISTRY_SIGNING_KEY is not set or not valid */
export function readSigningKey({
  REGISTRY_SIGNING_KEY: text = '',
}: Pick<ClientConfig, 'REGISTRY_SIGNING_KEY'>): SigningKey {
  const key = parseSigningKey(text);
  if (key) return key;
  throw new WrongUsage('Set REGISTRY_SIGNING_KEY to a key from "signalbox key create <name> --signing".');
}

function signer(key: SigningKey) {
  return ({ method, url, headers }: Unsigned) => {
    const request = { method, target: url.pathname + url.search, authority: url.host, headers };
    return signRequest(request, key, { now: new Date(), nonce: randomBytes(16).toString('base64url') });
  };
}
