import { resolve } from 'node:path';
import { createInterface, type Interface } from 'node:readline/promises';
import { Command, Option } from 'commander';
import { serverVariables } from '../config.ts';
import { ModelName } from '../domain/names.ts';
import type { Check } from '../setup/check.ts';
import { readEnvFile } from '../setup/env-file.ts';
import { type Answers, type Plan, planOf, presetsIn } from '../setup/plan.ts';
import { SETTINGS, type Setting } from '../setup/settings.ts';
import { printCheck } from './helpers/checks.ts';
import { WrongUsage } from './helpers/failure.ts';
import { notify, printJson, printLine } from './helpers/output.ts';
import { exitOnSignal } from './helpers/signals.ts';

interface InitOptions extends Record<string, unknown> {
  model: string;
  env?: string;
  out: string;
  force?: boolean;
  yes?: boolean;
  json?: boolean;
}

export function initCommand(): Command {
  const command = new Command('init').description(
    'set up an installation: ask for settings, check them, then write .env and .env.loader; docs/setup.md',
  );
  for (const { option, what, preset } of SETTINGS) {
    command.option(option, `${what}${preset === undefined ? '' : ` (default: ${preset})`}`);
  }
  return command
    .option('-m, --model <name>', 'the model that .env.loader follows', 'default')
    .option('-e, --env <environment>', 'the environment that .env.loader follows')
    .option('--out <folder>', 'the folder to write the files to', '.')
    .option('--force', 'replace existing files')
    .option('-y, --yes', 'do not prompt')
    .option('--json', 'do not prompt, and print the checks and the written files as JSON')
    .addHelpText(
      'after',
      '\nExamples:\n  signalbox init\n  NATS_URL=$(cat nats-url) signalbox init --yes --host 0.0.0.0 --public-url https://models.example.org\n\nPrefer NATS_URL in the environment to --nats-url: other users of this machine can see options, and the passwords in them.',
    )
    .action(init);
}

async function init(options: InitOptions): Promise<void> {
  const { model, env: environment, force = false } = options;
  const invalid = ModelName.safeParse(model).error?.issues[0]?.message;
  if (invalid) throw new WrongUsage(`--model ${JSON.stringify(model)} ${invalid}.`);
  const folder = resolve(options.out);
  const given = givenBy(options);
  const interactive = process.stdin.isTTY && !options.yes && !options.json;
  const answers = interactive ? await ask(given, presetsIn(folder)) : given;
  const plan = await planOf(answers, { loader: { model, environment }, folder, force });
  if (environment !== undefined && !plan.config.REGISTRY_ENVIRONMENTS.includes(environment)) {
    const all = plan.config.REGISTRY_ENVIRONMENTS.join(', ');
    throw new WrongUsage(`There is no environment ${environment}; there are ${all}.`);
  }
  exitOnSignal();
  const { checks, files } = await install(plan, options.json ? () => undefined : printCheck);
  if (options.json) printJson({ installed: files.length > 0, checks, files });
  else if (files.length === 0) printLine('Nothing was written.');
  else printLine(`Wrote ${files.join(' and ')}. To start the registry, run "signalbox serve" in ${folder}.`);
  if (files.length === 0) process.exitCode = 1;
}

async function install(plan: Plan, report: (check: Check) => void): Promise<{ checks: Check[]; files: string[] }> {
  const [{ tryOut, tryStart, writeFiles }, { isWrong }] = await Promise.all([
    import('../setup/installation.ts'),
    import('../setup/check.ts'),
  ]);
  const checks: Check[] = [];
  const take = (check: Check) => {
    checks.push(check);
    report(check);
  };
  for await (const check of tryOut(plan)) take(check);
  if (checks.some(isWrong)) return { checks, files: [] };
  const { check, key } = await tryStart(plan, notify);
  take(check);
  return { checks, files: key ? await writeFiles(plan, key) : [] };
}

function givenBy(options: InitOptions): Answers {
  const answers = SETTINGS.map(({ name, option }) => [name, options[new Option(option).attributeName()]]);
  const given: Answers = Object.fromEntries(answers.filter(([, answer]) => answer !== undefined));
  const NATS_URL = given.NATS_URL ?? natsUrlIn(process.env);
  return NATS_URL === undefined ? given : { ...given, NATS_URL };
}

/** NATS_URL from the environment, since other users can see options. A value that the CLI read from `.env` is not an answer. */
function natsUrlIn({ NATS_URL }: NodeJS.ProcessEnv): string | undefined {
  return NATS_URL === readEnvFile('.env').NATS_URL ? undefined : NATS_URL || undefined;
}

/** Prompts for the settings that were not given as options. @throws {Error} if the terminal is closed */
async function ask(given: Answers, presets: Answers): Promise<Answers> {
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  const closed = new AbortController();
  terminal.once('close', () => closed.abort());
  const answers = { ...given };
  try {
    for (const setting of SETTINGS) {
      if (answers[setting.name] !== undefined || (setting.needs && !answers[setting.needs])) continue;
      answers[setting.name] = await askFor(setting, presets[setting.name] ?? '', terminal, closed.signal);
    }
    return answers;
  } catch (cause) {
    if (!closed.signal.aborted) throw cause;
    throw new Error('Stopped: the input ended. Nothing was written.', { cause });
  } finally {
    terminal.close();
  }
}

async function askFor(
  { name, what }: Setting,
  preset: string,
  terminal: Interface,
  signal: AbortSignal,
): Promise<string> {
  for (;;) {
    const answer = await terminal.question(`${what}${preset && ` [${preset}]`}: `, { signal });
    const value = answer.trim() || preset;
    const problem = serverVariables.shape[name].safeParse(value === '' ? undefined : value).error;
    if (!problem) return value;
    notify(problem.issues.map(({ message }) => message).join('; '));
  }
}
