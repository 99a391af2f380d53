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
import { printJson, printLine, tell } from './helpers/output.ts';

interface InitOptions extends Record<string, unknown> {
  model: string;
  env?: string;
  out: string;
  force?: boolean;
  yes?: boolean;
  json?: boolean;
}

export function initCommand(): Command {
  const verb = new Command('init').description(
    'set an installation up: ask, try everything, then write .env and .env.loader; docs/setup.md',
  );
  for (const { option, what, preset } of SETTINGS) {
    verb.option(option, `${what}${preset === undefined ? '' : ` (default: ${preset})`}`);
  }
  return verb
    .option('-m, --model <name>', 'the model of the loaders that .env.loader is for', 'default')
    .option('-e, --env <environment>', 'and their environment')
    .option('--out <folder>', 'where to write the files', '.')
    .option('--force', 'replace files that are there')
    .option('-y, --yes', 'ask nothing')
    .option('--json', 'ask nothing, and print what was tried and written as JSON')
    .addHelpText(
      'after',
      '\nExamples:\n  signalbox init\n  NATS_URL=$(cat nats-url) signalbox init --yes --host 0.0.0.0 --public-url https://models.example.org\n\nWithout --nats-url, NATS_URL is read from the environment: options, and passwords in them, are visible to other users.',
    )
    .action(init);
}

async function init(options: InitOptions): Promise<void> {
  const { model, env: environment, force = false } = options;
  if (!ModelName.safeParse(model).success) throw new WrongUsage(`${model} is no name of a model.`);
  const folder = resolve(options.out);
  const given = givenBy(options);
  const asking = process.stdin.isTTY && !options.yes && !options.json;
  const answers = asking ? await ask(given, presetsIn(folder)) : given;
  const plan = await planOf(answers, { loader: { model, environment }, folder, force });
  if (environment !== undefined && !plan.config.REGISTRY_ENVIRONMENTS.includes(environment)) {
    throw new WrongUsage(`${environment} is none of the environments.`);
  }
  // A start can take minutes, when nats-server is fetched, and has a child that must not stay behind.
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));
  const { checks, files } = await install(plan, options.json ? () => undefined : printCheck);
  if (options.json) printJson({ installed: files.length > 0, checks, files });
  else if (files.length === 0) printLine('Nothing was written.');
  else printLine(`Wrote ${files.join(' and ')}. Start it there with "signalbox serve".`);
  if (files.length === 0) process.exitCode = 1;
}

async function install(plan: Plan, told: (check: Check) => void): Promise<{ checks: Check[]; files: string[] }> {
  // Loaded here, so that the other verbs start without the server's parts.
  const [{ tryOut, tryStart, writeFiles }, { isWrong }] = await Promise.all([
    import('../setup/installation.ts'),
    import('../setup/check.ts'),
  ]);
  const checks: Check[] = [];
  const take = (check: Check) => {
    checks.push(check);
    told(check);
  };
  for await (const check of tryOut(plan)) take(check);
  if (checks.some(isWrong)) return { checks, files: [] };
  const { check, key } = await tryStart(plan, tell);
  take(check);
  return { checks, files: key ? await writeFiles(plan, key) : [] };
}

function givenBy(options: InitOptions): Answers {
  const answers = SETTINGS.map(({ name, option }) => [name, options[new Option(option).attributeName()]]);
  const given: Answers = Object.fromEntries(answers.filter(([, answer]) => answer !== undefined));
  const NATS_URL = given.NATS_URL ?? natsUrlIn(process.env);
  return NATS_URL === undefined ? given : { ...given, NATS_URL };
}

/** Other users can see what an option says, and this may hold a password. A `.env` that was read here is not an answer. */
function natsUrlIn({ NATS_URL }: NodeJS.ProcessEnv): string | undefined {
  return NATS_URL === readEnvFile('.env').NATS_URL ? undefined : NATS_URL || undefined;
}

/** Asks for what was not given. @throws {Error} where the terminal is closed meanwhile */
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
    throw new Error('Stopped. Nothing was written.', { cause });
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
    tell(problem.issues.map(({ message }) => message).join('; '));
  }
}
