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
    .option('--clear', 'forget the declared runtime: nothing is checked any more')
    .argument('[package=version...]', 'such as scikit-learn==1.5.2; npm:<package>==<version> for a package of npm')
    .addHelpText(
      'after',
      `
Without versions it prints what is declared. What is declared replaces the earlier declaration as a whole.

Examples:
  signalbox runtime --env production
  signalbox runtime --env production --python 3.11.7 scikit-learn==1.5.2 joblib==1.4.2
  signalbox runtime --env production --clear`,
    )
    .action(async (stated: string[], { env: environment, python, node, clear, json, ...options }) => {
      const facts = runtimeOf([...given('python', python), ...given('node', node), ...stated.map(fact)]);
      const none = Object.keys(facts).length === 0;
      if (clear && !none) throw new WrongUsage('--clear takes no versions.');
      const { client, base } = openConnection(options);
      const path = `${base}/environments/${encodeURIComponent(environment)}/runtime`;
      const asked = none && !clear;
      const answer = await client.call<RuntimeView>(asked ? 'GET' : 'PUT', path, asked ? {} : { json: facts });
      if (json) printJson(answer);
      else if (asked) printRuntime(answer);
      else printLine(`The runtime of ${environment} is ${clear ? 'cleared' : 'declared'}.`);
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
  throw new WrongUsage(`${text} is not of the form package==version.`);
}

/** Facts by the place they have in a runtime: `python` and `node` are no packages. @throws {WrongUsage} for one given twice */
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
