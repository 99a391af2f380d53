import { Command } from 'commander';
import type { RuntimeView } from '../api/views.ts';
import { type Runtime, spelled } from '../domain/requires.ts';
import { openConnection, withConnection } from './helpers/connection.ts';
import { WrongUsage } from './helpers/failure.ts';
import { withEnvironment } from './helpers/moved.ts';
import { clean, printJson, printLine } from './helpers/output.ts';

export function runtimeCommand(): Command {
  return withEnvironment(withConnection(new Command('runtime')))
    .description('print, declare or clear the runtime of an environment, which activations are checked against')
    .option('--python <version>', 'such as 3.11.7')
    .option('--node <version>', 'such as 24.1.0')
    .option('--clear', 'clear the declared runtime; activations are no longer checked')
    .argument('[package=version...]', 'such as scikit-learn==1.5.2; npm:<package>==<version> for an npm package')
    .addHelpText(
      'after',
      `
Without versions the command prints the declared runtime. A new declaration replaces the old one completely.

Examples:
  signalbox runtime --env production
  signalbox runtime --env production --python 3.11.7 scikit-learn==1.5.2 joblib==1.4.2
  signalbox runtime --env production --clear`,
    )
    .action(async (packages: string[], { env: environment, python, node, clear, json, ...options }) => {
      const facts = runtimeOf([...given('python', python), ...given('node', node), ...packages.map(fact)]);
      const empty = Object.keys(facts).length === 0;
      if (clear && !empty) throw new WrongUsage('--clear takes no versions.');
      const { client, base } = openConnection(options);
      const path = `${base}/environments/${encodeURIComponent(environment)}/runtime`;
      const reading = empty && !clear;
      const answer = await client.call<RuntimeView>(reading ? 'GET' : 'PUT', path, reading ? {} : { json: facts });
      if (json) printJson(answer);
      else if (reading) printRuntime(answer);
      else printLine(`${clear ? 'Cleared' : 'Declared'} the runtime of ${environment}.`);
    });
}

function printRuntime({ environment, runtime }: RuntimeView): void {
  const lines = spelled(runtime ?? {});
  if (lines.length === 0) printLine(`No runtime is declared for ${environment}.`);
  for (const line of lines) printLine(clean(line));
}

type Fact = [name: string, version: string];

function given(name: string, version: string | undefined): Fact[] {
  return version === undefined ? [] : [[name, version]];
}

function fact(text: string): Fact {
  const [, name, version] = /^([^=\s]+)==?([^=\s]+)$/.exec(text) ?? [];
  if (name && version) return [name, version];
  throw new WrongUsage(`${text} does not have the form package==version.`);
}

/** Sorts facts into a runtime: `python` and `node` are interpreters, not packages. @throws {WrongUsage} if a name is repeated */
function runtimeOf(facts: Fact[]): Runtime {
  const packages: Fact[] = [];
  const npm: Fact[] = [];
  const interpreters: Fact[] = [];
  const seen = new Set<string>();
  for (const [name, version] of facts) {
    if (seen.has(name)) throw new WrongUsage(`${name} is given twice.`);
    seen.add(name);
    if (name === 'python' || name === 'node') interpreters.push([name, version]);
    else if (name.startsWith('npm:')) npm.push([name.slice('npm:'.length), version]);
    else packages.push([name, version]);
  }
  return {
    ...Object.fromEntries(interpreters),
    ...(packages.length > 0 && { packages: Object.fromEntries(packages) }),
    ...(npm.length > 0 && { npm: Object.fromEntries(npm) }),
  };
}
