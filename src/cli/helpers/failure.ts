import { CommanderError } from 'commander';
import { BundleRefused } from '../../bundle/refused.ts';
import { CredentialRefused, RegistryUnreachable } from '../../client/client.ts';
import { Problem } from '../../domain/errors.ts';
import { isSystemError, remedyOf, sentenceOf } from '../../files/system-error.ts';
import { HistoryBroken } from '../../proof/source.ts';
import { adviceOnRefused } from './credential.ts';
import { cleanLines } from './output.ts';

/** Options or arguments that do not go together, where Commander cannot tell. */
export class WrongUsage extends Error {
  override readonly name = 'WrongUsage';
}

/** The environment was moved, and its loaders do not serve what is active now. */
export class NotConverged extends Error {
  override readonly name = 'NotConverged';
}

/** What to do next, by code, where the refusal does not say so itself. */
const advice: Partial<Record<string, string>> = {
  unauthenticated:
    'Set REGISTRY_TOKEN or REGISTRY_SIGNING_KEY, or run this where REGISTRY_VOLUME is that of a registry on this machine.',
  'unknown-model': '"signalbox list --models" lists the models there are; "signalbox publish" makes one.',
  'active-changed': 'Look at the history, and decide again.',
  'outcome-unknown': 'Run the same command again: it does nothing twice.',
  'log-unavailable': 'The registry recovers by itself when NATS is back; run the command again.',
  'version-archived': 'See signalbox unarchive.',
};

/** Tells an error on standard error, and returns the exit code that scripts see. */
export function failed(error: unknown): number {
  // Commander has told its own errors already; --help and --version end this way too.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  // It may quote a file, or what a server said.
  process.stderr.write(`signalbox: ${cleanLines(sentenceOf(error))}\n`);
  if (error instanceof RegistryUnreachable) {
    const next = remedyOf(error.cause) ?? 'Is it running there?';
    process.stderr.write(`${next} "signalbox serve" starts one; REGISTRY_DSN says where it is.\n`);
    return 5;
  }
  const remedy = isSystemError(error) ? remedyOf(error) : null;
  if (remedy) process.stderr.write(`${remedy}\n`);
  if (error instanceof WrongUsage) return 2;
  if (error instanceof BundleRefused) return 3;
  if (error instanceof NotConverged) return 6;
  if (error instanceof HistoryBroken) return 7;
  if (!(error instanceof Problem)) return 1;
  const next = error instanceof CredentialRefused ? adviceOnRefused(error, process.env) : advice[error.code];
  if (next) process.stderr.write(`${cleanLines(next)}\n`);
  if (error.status === 404) return 4;
  if (error.status === 503) return 5;
  return [403, 409, 422, 429].includes(error.status) ? 3 : 1;
}
