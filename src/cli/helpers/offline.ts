import { randomBytes } from 'node:crypto';
import { z } from 'zod';
import { packBundle } from '../../bundle/pack.ts';
import { MAX_DAYS, Statement } from '../../bundle/statement.ts';
import { clientVariables, readConfig } from '../../config.ts';
import { readSigningKey } from './connection.ts';
import { WrongUsage } from './failure.ts';
import { printJson, printLine } from './output.ts';
import { readFolder } from './read-folder.ts';

export interface OfflineOptions {
  /** The bundle to write. */
  offline: string;
  model: string;
  version?: string;
  notes?: string;
  /** The environment to activate the version in. */
  activate?: string;
  reason?: string;
  days?: number;
  json?: boolean;
}

/** Packs a folder as a version into a signed bundle for `signalbox import`, without contacting a registry. */
export async function publishOffline(folder: string, options: OfflineOptions): Promise<void> {
  const { offline, model, version, activate, reason, notes = null, days = MAX_DAYS, json } = options;
  const key = readSigningKey(readConfig(clientVariables, process.env));
  if (version === undefined) throw new WrongUsage('Give --version: --bump needs a registry.');
  if (!(days > 0 && days <= MAX_DAYS)) throw new WrongUsage(`--days must be greater than 0 and at most ${MAX_DAYS}.`);
  if (reason !== undefined && activate === undefined) throw new WrongUsage('--reason requires --activate.');
  const now = Date.now();
  const result = Statement.safeParse({
    format: 1,
    model,
    version,
    manifest: await readFolder(folder),
    notes,
    activate: activate === undefined ? null : { environment: activate, reason: reason ?? null },
    created_at: new Date(now).toISOString(),
    expires_at: new Date(now + days * 24 * 3600_000).toISOString(),
    nonce: randomBytes(16).toString('base64url'),
  });
  if (!result.success) throw new WrongUsage(z.prettifyError(result.error));
  await packBundle(offline, folder, result.data, key);
  if (json) printJson(result.data);
  else printLine(`${offline} holds ${model} ${version}; import it before ${result.data.expires_at}.`);
}
