import { CommanderError } from 'commander';
import type { MoveView } from '../../api/views.ts';
import { BundleRefused } from '../../bundle/refused.ts';
import { CredentialRefused, RegistryUnreachable } from '../../client/client.ts';
import { Problem } from '../../domain/errors.ts';
import { isSystemError, remedyOf, sentenceOf } from '../../files/system-error.ts';
import { HistoryBroken } from '../../proof/source.ts';
import { adviceOnRefused } from './credential.ts';
import { clean, cleanLines } from './output.ts';

/** Invalid options or arguments that Commander does not detect. */
export class WrongUsage extends Error {
  override readonly name = 'WrongUsage';
}

/** The environment was moved, but its loaders do not serve the version that is active now. */
export class NotConverged extends Error {
  override readonly name = 'NotConverged';
}

/** A store lacks bytes of published versions, or has other bytes in their place. */
export class BytesLost extends Error {
  override readonly name = 'BytesLost';
}

/** What to do next, by problem code, unless the problem's own text covers it. */
const advice: Partial<Record<string, string>> = {
  unauthenticated:
    'Set REGISTRY_TOKEN or REGISTRY_SIGNING_KEY, or set REGISTRY_VOLUME to the volume of a registry on this machine.',
  'unknown-model': 'Run "signalbox list --models" to list the models, or "signalbox publish" to create one.',
  'active-changed': 'Run "signalbox history" to see what changed, then decide again.',
  'outcome-unknown': 'Run the same command again. It has no effect if the first attempt succeeded.',
  'log-unavailable': 'The registry recovers when NATS is available again. Then run the command again.',
  'version-archived': 'Run "signalbox unarchive <version>" first.',
};

/** Prints an error to standard error and returns the exit code. */
export function failed(error: unknown): number {
  // Commander has already printed its own errors. --help and --version throw this too.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  // The message may quote a file or the response of a server.
  process.stderr.write(`signalbox: ${cleanLines(sentenceOf(error))}\n`);
  if (error instanceof RegistryUnreachable) {
    const next = remedyOf(error.cause) ?? 'Check that a registry is running there.';
    process.stderr.write(`${next} "signalbox serve" starts a registry; REGISTRY_DSN sets its address.\n`);
    return 5;
  }
  const remedy = isSystemError(error) ? remedyOf(error) : null;
  if (remedy) process.stderr.write(`${remedy}\n`);
  if (error instanceof WrongUsage) return 2;
  if (error instanceof BundleRefused) return 3;
  if (error instanceof NotConverged) return 6;
  if (error instanceof HistoryBroken || error instanceof BytesLost) return 7;
  if (!(error instanceof Problem)) return 1;
  for (const detail of furtherReasons(error)) process.stderr.write(`Also: ${clean(detail)}\n`);
  const next = error instanceof CredentialRefused ? adviceOnRefused(error, process.env) : advice[error.code];
  if (next) process.stderr.write(`${cleanLines(next)}\n`);
  if (error.status === 404) return 4;
  if (error.status === 503) return 5;
  return [403, 409, 422, 429].includes(error.status) ? 3 : 1;
}

/** Returns why else a dry run was refused: the error itself is the first failed rule. */
function furtherReasons({ fields, message }: Problem): string[] {
  const checks = (fields.checks ?? []) as NonNullable<MoveView['checks']>;
  return checks.filter(({ ok, detail }) => !ok && detail !== message).map(({ detail }) => detail);
}
