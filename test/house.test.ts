import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { expect, test } from 'vitest';

const src = join(import.meta.dirname, '../src');

/** What each room may import besides itself: imports run one way (docs/architecture.md). */
const rooms: Record<string, string[]> = {
  domain: [],
  log: ['domain', 'cache-folder'],
  artifacts: ['domain', 'system-error'],
  commands: ['domain', 'log', 'artifacts'],
  projections: ['domain', 'log', 'artifacts', 'commands'],
  discovery: ['domain', 'log', 'artifacts', 'commands', 'projections'],
  access: ['domain', 'artifacts', 'log'],
  metrics: ['domain', 'log', 'commands', 'projections', 'http'],
  client: ['domain', 'system-error'],
  bundle: ['domain', 'artifacts', 'access'],
  replay: ['domain', 'log'],
  http: ['domain', 'log', 'artifacts', 'commands', 'projections', 'access'],
  loader: ['domain', 'log', 'artifacts', 'access', 'client', 'config', 'version', 'cache-folder'],
  cli: [
    'domain',
    'artifacts',
    'access',
    'client',
    'bundle',
    'loader',
    'replay',
    'setup',
    'config',
    'telemetry',
    'version',
    'node-version',
    'system-error',
    'serve',
    'gateway',
  ],
  setup: [
    'domain',
    'log',
    'artifacts',
    'access',
    'client',
    'config',
    'telemetry',
    'version',
    'node-version',
    'system-error',
    'serve',
    'http',
  ],
  config: ['domain'],
  'cache-folder': [],
  telemetry: ['domain'],
  version: [],
  'node-version': [],
  'system-error': ['domain'],
  gateway: ['domain', 'access', 'client', 'http', 'config'],
  serve: [
    'domain',
    'log',
    'artifacts',
    'commands',
    'projections',
    'discovery',
    'access',
    'http',
    'metrics',
    'replay',
    'config',
    'version',
    'system-error',
  ],
};

const imports = readdirSync(src, { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.ts'))
  .flatMap((file) => importsOf(file));

test('imports run one way', () => {
  const wrong = imports.filter(({ from, to }) => from !== to && !rooms[from]?.includes(to));
  expect(wrong.map(({ file, target }) => `${file} imports ${target}`)).toEqual([]);
});

test('replay states the rules again: it has neither a fold nor a shape of events from the server', () => {
  const shared = /^(domain\/(clause|digest|errors|json|names|visible)|log\/(?!codec)[^/]+|log\/embedded\/[^/]+)\.ts$/;
  const wrong = imports.filter(({ from, to, target }) => from === 'replay' && from !== to && !shared.test(target));
  expect(wrong.map(({ file, target }) => `${file} imports ${target}`)).toEqual([]);
});

test('the domain is pure: nothing in it reads a clock, a file or a network', () => {
  const effects = /\b(Date\.now|new Date\(\)|Math\.random|randomUUID|node:(fs|net|http|child_process))/;
  const files = readdirSync(join(src, 'domain')).map((name) => join('domain', name));
  const decisions = readdirSync(join(src, 'commands'))
    .filter((name) => !['dispatch.ts', 'keyed-queue.ts'].includes(name))
    .map((name) => join('commands', name));
  const impure = [...files, ...decisions].filter((file) => effects.test(readFileSync(join(src, file), 'utf8')));
  expect(impure).toEqual([]);
});

function importsOf(file: string) {
  const text = readFileSync(join(src, file), 'utf8');
  const targets = [...text.matchAll(/(?:from|import\()\s*'(\.[^']+)'/g)].map(([, path]) =>
    resolve(src, dirname(file), path!),
  );
  return targets.map((path) => {
    const target = relative(src, path);
    return { file, target, from: roomOf(file), to: roomOf(target) };
  });
}

function roomOf(file: string): string {
  return file.split('/')[0]!.replace(/\.ts$/, '');
}
