import { z } from 'zod';
import { type ProblemLists, Readiness } from '../api/health.ts';
import { type Check, listed, ok, warning, wrong } from './check.ts';

/** The registry may run another version, with other states and lists, or without some fields. */
const Answer = Readiness.extend({
  log: z.string(),
  counts: z.record(z.string(), z.int()).default({}),
  writes: z.boolean().optional(),
  volume_progress: Readiness.shape.volume_progress.optional(),
});

/** Checks the response of `/readyz`. The remedies are those of docs/operating.md. */
export function checkReadiness(answer: unknown): Check[] {
  const read = Answer.safeParse(answer);
  if (!read.success)
    return [wrong('readiness', 'The response of /readyz is not valid.', 'Check the log lines of the registry.')];
  const { log, counts, gaps = [], frozen = [], volume = [], artifacts = [], discovery = [], history = [] } = read.data;
  const checks = [checkLog(log), ...checkHidden(counts, answer as object)];
  if (gaps.length > 0) {
    const missing = gaps.map(({ first, last }) => (first === last ? `${first}` : `${first} to ${last}`));
    checks.push(wrong('gaps', `The log has lost revisions: ${listed(missing)}.`, 'Restore the log from a backup.'));
  }
  if (frozen.length > 0) {
    const models = frozen.map(({ model, revision, reason }) => `${model} at revision ${revision} (${reason})`);
    const remedy =
      'If a newer Signalbox wrote that revision, upgrade this one. Otherwise, publish under another model name. The events stay in the log.';
    checks.push(wrong('frozen', `These models are frozen: ${listed(models)}.`, remedy));
  }
  if (volume.length > 0) {
    const remedy = 'Move these files away. The registry restores the correct ones within half a minute.';
    checks.push(warning('files', listed(volume), remedy));
  }
  if (artifacts.length > 0) checks.push(checkArtifacts(artifacts));
  if (discovery.length > 0) {
    checks.push(warning('discovery', listed(discovery), 'Correct these folders, or move them out of versions/.'));
  }
  if (history.length > 0) {
    const remedy = 'Make REGISTRY_HISTORY_FILE writable for the registry. It then adds the missing lines.';
    checks.push(warning('activation history', listed(history), remedy));
  }
  return checks;
}

/** Missing bytes of an active version are an error, of another version a warning. */
function checkArtifacts(artifacts: ProblemLists['artifacts']): Check {
  const names = artifacts.map(({ model, version, environments }) =>
    environments.length > 0 ? `${model} ${version} (active in ${environments.join(', ')})` : `${model} ${version}`,
  );
  const found = artifacts.some(({ environments }) => environments.length > 0) ? wrong : warning;
  const remedy =
    'Copy blobs/ from the volume of the registry that published them, or from a backup. This registry finds them within half a minute. See docs/operating.md, "Several registries on one log".';
  return found('artifacts', `The registry's volume lacks the bytes of ${listed(names)}.`, remedy);
}

/** Checks the problems that the registry counts, but lists only for callers that may read every model. */
function checkHidden(counts: Record<string, number>, answer: object): Check[] {
  const hidden = Object.entries(counts).filter(([name, count]) => count > 0 && !(name in answer));
  if (hidden.length === 0) return [];
  const detail = `The registry has problems that it does not list for this caller: ${listed(hidden.map(([name, count]) => `${count} under ${name}`))}.`;
  const remedy = 'Set REGISTRY_TOKEN to a token that may read every model, and run this command again.';
  const severe = hidden.some(([name]) => name === 'gaps' || name === 'frozen');
  return [(severe ? wrong : warning)('readiness', detail, remedy)];
}

function checkLog(log: string): Check {
  switch (log) {
    case 'live':
      return ok('log', 'the registry has read the log to its end');
    case 'catching-up':
      return warning('log', 'The registry is still reading its log.', 'Wait, and run this command again.');
    case 'cut-off':
      return wrong('log', 'The registry has no connection to NATS.', 'Start NATS. The registry then recovers.');
    default:
      return wrong(
        'log',
        `The log is ${log}: the stream was replaced, or its newest events are missing.`,
        'Restore the right stream. To accept the current one, see docs/operating.md.',
      );
  }
}
