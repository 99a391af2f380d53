import { z } from 'zod';
import { type ProblemLists, Readiness } from '../api/health.ts';
import { type Check, listed, ok, warning, wrong } from './check.ts';

/** Another version of the registry may have other states and lists, or no counts. */
const Answer = Readiness.extend({ log: z.string(), counts: z.record(z.string(), z.int()).default({}) });

/** What `/readyz` says, with what docs/operating.md says to do about it. */
export function checkReadiness(answer: unknown): Check[] {
  const read = Answer.safeParse(answer);
  if (!read.success)
    return [wrong('readiness', '/readyz does not answer as a registry does.', 'Look at its log lines.')];
  const { log, counts, gaps = [], frozen = [], volume = [], artifacts = [], discovery = [], history = [] } = read.data;
  const checks = [checkLog(log), ...checkHidden(counts, answer as object)];
  if (gaps.length > 0) {
    const missing = gaps.map(({ first, last }) => (first === last ? `${first}` : `${first} to ${last}`));
    checks.push(wrong('gaps', `The log has lost revisions: ${listed(missing)}.`, 'Restore the log from a backup.'));
  }
  if (frozen.length > 0) {
    const models = frozen.map(({ model, revision, reason }) => `${model} at revision ${revision} (${reason})`);
    const remedy =
      'If a newer Signalbox wrote that revision, upgrade this one. If not, publish under another model name; what is on the log stays.';
    checks.push(wrong('frozen', `Models that cannot be followed: ${listed(models)}.`, remedy));
  }
  if (volume.length > 0) {
    const remedy = 'Move these files away: the registry puts the right ones there within half a minute.';
    checks.push(warning('files', listed(volume), remedy));
  }
  if (artifacts.length > 0) checks.push(checkArtifacts(artifacts));
  if (discovery.length > 0) {
    checks.push(warning('discovery', listed(discovery), 'Correct these folders, or move them out of versions/.'));
  }
  if (history.length > 0) {
    const remedy = 'Let the registry write REGISTRY_HISTORY_FILE: it catches up by itself.';
    checks.push(warning('activation history', listed(history), remedy));
  }
  return checks;
}

/** Only what is active is needed now; the registry serves everything else in any case. */
function checkArtifacts(artifacts: ProblemLists['artifacts']): Check {
  const names = artifacts.map(({ model, version, environments }) =>
    environments.length > 0 ? `${model} ${version} (active in ${environments.join(', ')})` : `${model} ${version}`,
  );
  const found = artifacts.some(({ environments }) => environments.length > 0) ? wrong : warning;
  const remedy =
    'Copy blobs/ from the volume of the registry that they were published through, or from a backup; this one finds them within half a minute. See docs/operating.md, "Several registries on one log".';
  return found('artifacts', `The registry's volume lacks the bytes of ${listed(names)}.`, remedy);
}

/** What the registry counts, and lists only to callers that may read every model. */
function checkHidden(counts: Record<string, number>, answer: object): Check[] {
  const hidden = Object.entries(counts).filter(([name, count]) => count > 0 && !(name in answer));
  if (hidden.length === 0) return [];
  const detail = `The registry has problems that it does not list to this caller: ${listed(hidden.map(([name, count]) => `${count} under ${name}`))}.`;
  const remedy = 'Set REGISTRY_TOKEN to a token that may read every model, and run this again.';
  const severe = hidden.some(([name]) => name === 'gaps' || name === 'frozen');
  return [(severe ? wrong : warning)('readiness', detail, remedy)];
}

function checkLog(log: string): Check {
  switch (log) {
    case 'live':
      return ok('log', 'the registry follows the log to its end');
    case 'catching-up':
      return warning('log', 'The registry is still reading its log.', 'Wait, and look again.');
    case 'cut-off':
      return wrong('log', 'The registry has lost NATS.', 'Bring NATS back: the registry recovers by itself.');
    default:
      return wrong(
        'log',
        `The log is ${log}: the stream was replaced, or has lost its end.`,
        'Bring the right one back, or see docs/operating.md to accept the one that is there.',
      );
  }
}
