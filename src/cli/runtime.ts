import { Command } from 'commander';
import { WrongUsage } from './failure.ts';
import { withEnvironment } from './moved.ts';
import { printJson, printLine } from './output.ts';
import { openSession, withSession } from './session.ts';

export function runtimeVerb(): Command {
  return withEnvironment(withSession(new Command('runtime')))
    .description('state what the processes of an environment run, for activations to be checked against')
    .option('--python <version>', 'such as 3.11.7')
    .option('--node <version>', 'such as 24.1.0')
    .argument('[package=version...]', 'such as scikit-learn==1.5.2')
    .addHelpText(
      'after',
      '\nExample:\n  signalbox runtime --env production --python 3.11.7 scikit-learn==1.5.2 joblib==1.4.2',
    )
    .action(async (stated: string[], { env: environment, python, node, json, ...options }) => {
      const { client, base } = openSession(options);
      const packages = stated.length > 0 ? Object.fromEntries(stated.map(fact)) : undefined;
      const path = `${base}/environments/${encodeURIComponent(environment)}/runtime`;
      const answer = await client.call('PUT', path, { json: { python, node, packages } });
      if (json) printJson(answer);
      else printLine(`The runtime of ${environment} is declared.`);
    });
}

function fact(text: string): [string, string] {
  const [, name, version] = /^([^=\s]+)==?([^=\s]+)$/.exec(text) ?? [];
  if (name && version) return [name, version];
  throw new WrongUsage(`${text} is not of the form package==version.`);
}
