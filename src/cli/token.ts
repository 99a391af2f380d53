import { Command } from 'commander';
import { actorNameProblem } from '../access/actor-name.ts';
import { localToken } from '../access/client-token.ts';
import { clientVariables, readConfig } from '../config.ts';
import { WrongUsage } from './helpers/failure.ts';
import { printLine } from './helpers/output.ts';

export function tokenCommand(): Command {
  return new Command('token')
    .description('print a token for a registry whose volume is on this machine')
    .option('--role <role>', 'the role: admin, user, or another role of the policy', 'admin')
    .option('--sub <name>', 'the actor; default: your user name')
    .option('--hours <count>', 'lifetime in hours', Number, 1)
    .addHelpText(
      'after',
      '\nExample:\n  curl -H "Authorization: Bearer $(signalbox token)" http://127.0.0.1:8080/api/models',
    )
    .action(async ({ role, sub: actor, hours }) => {
      if (!(hours > 0)) throw new WrongUsage('--hours must be greater than 0.');
      const wrong = actor === undefined ? null : actorNameProblem(actor);
      if (wrong !== null) throw new WrongUsage(`--sub ${JSON.stringify(actor)} ${wrong}.`);
      const config = readConfig(clientVariables, process.env);
      printLine(await localToken(config, { role, seconds: Math.round(hours * 3600), actor }));
    });
}
