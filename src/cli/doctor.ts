import { Command } from 'commander';
import type { Check } from '../setup/check.ts';
import { printCheck } from './helpers/checks.ts';
import { clientFor } from './helpers/connection.ts';
import { printJson } from './helpers/output.ts';

export function doctorCommand(): Command {
  return new Command('doctor')
    .description('say what is wrong with an installation, and what to do about it')
    .option('--json', 'print what was found as JSON')
    .addHelpText(
      'after',
      '\nExamples:\n  signalbox doctor\n  REGISTRY_DSN=https://registry REGISTRY_TOKEN=… signalbox doctor --json',
    )
    .action(async ({ json }) => {
      // Loaded here, so that the other verbs start without its parts.
      const [{ examine }, { isWrong }] = await Promise.all([
        import('../setup/examination.ts'),
        import('../setup/check.ts'),
      ]);
      const checks: Check[] = [];
      for await (const check of examine(process.env, clientFor)) {
        checks.push(check);
        if (!json) printCheck(check);
      }
      const healthy = !checks.some(isWrong);
      if (json) printJson({ healthy, checks });
      if (!healthy) process.exitCode = 1;
    });
}
