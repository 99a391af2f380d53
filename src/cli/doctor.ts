import { Command } from 'commander';
import type { Check } from '../setup/check.ts';
import { printCheck } from './helpers/checks.ts';
import { clientFor } from './helpers/connection.ts';
import { printJson } from './helpers/output.ts';

export function doctorCommand(): Command {
  return new Command('doctor')
    .description('check an installation, and print what to do about each problem')
    .option('--json', 'print the checks as JSON')
    .addHelpText(
      'after',
      '\nExamples:\n  signalbox doctor\n  REGISTRY_DSN=https://registry REGISTRY_TOKEN=… signalbox doctor --json',
    )
    .action(async ({ json }) => {
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
