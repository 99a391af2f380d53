import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { expect, test } from 'vitest';

const src = join(import.meta.dirname, '../src');

/** What each room may import besides itself: imports run one way (docs/architecture.md). */
const rooms: Record<string, string[]> = {
  domain: [],
  structures: ['domain'],
  api: ['domain'],
  search: ['domain'],
  files: ['domain'],
  log: ['domain', 'structures', 'files'],
  artifacts: ['domain', 'structures', 'files'],
  access: ['domain', 'structures', 'files', 'log'],
  commands: ['domain', 'structures', 'log', 'artifacts', 'access'],
  projections: ['domain', 'structures', 'api', 'search', 'files', 'log', 'artifacts', 'access'],
  discovery: ['domain', 'files', 'log', 'artifacts', 'commands', 'projections'],
  http: ['domain', 'structures', 'api', 'search', 'log', 'artifacts', 'access', 'commands', 'projections'],
  metrics: ['domain', 'structures', 'log', 'commands', 'projections', 'http'],
  client: ['domain', 'api', 'files'],
  bundle: ['domain', 'artifacts', 'access'],
  proof: ['domain', 'files', 'log'],
  audit: ['domain', 'log', 'proof'],
  loader: ['domain', 'api', 'files', 'log', 'artifacts', 'access', 'client', 'config', 'version'],
  gateway: ['domain', 'structures', 'api', 'access', 'client', 'http', 'config'],
  serve: [
    'domain',
    'structures',
    'files',
    'log',
    'artifacts',
    'access',
    'commands',
    'projections',
    'discovery',
    'http',
    'metrics',
    'proof',
    'config',
    'version',
  ],
  setup: [
    'domain',
    'structures',
    'api',
    'files',
    'log',
    'artifacts',
    'access',
    'client',
    'http',
    'serve',
    'config',
    'telemetry',
    'version',
    'node-version',
  ],
  cli: [
    'domain',
    'structures',
    'api',
    'files',
    'artifacts',
    'access',
    'client',
    'bundle',
    'loader',
    'proof',
    'audit',
    'setup',
    'serve',
    'gateway',
    'config',
    'telemetry',
    'version',
    'node-version',
  ],
  config: ['domain', 'artifacts'],
  telemetry: ['domain'],
  version: [],
  'node-version': [],
};

const imports = readdirSync(src, { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.ts'))
  .flatMap((file) => importsOf(file));

test('imports run one way', () => {
  const wrong = imports.filter(({ from, to }) => from !== to && !rooms[from]?.includes(to));
  expect(wrong.map(({ file, target }) => `${file} imports ${target}`)).toEqual([]);
});

test('no file imports itself by way of others', () => {
  const targets = Map.groupBy(imports, ({ file }) => file);
  const finished = new Set<string>();
  const circles: string[] = [];
  const visit = (file: string, path: string[]): void => {
    if (path.includes(file)) circles.push([...path.slice(path.indexOf(file)), file].join(' → '));
    if (path.includes(file) || finished.has(file)) return;
    for (const { target } of targets.get(file) ?? []) visit(target, [...path, file]);
    finished.add(file);
  };
  for (const file of targets.keys()) visit(file, []);
  expect(circles).toEqual([]);
});

test('the audit states the rules again: it uses neither the fold nor the event shapes of the server', () => {
  const shared =
    /^(domain\/(clause|digest|errors|json|names|visible)|proof\/[^/]+|log\/(?!codec|upcast)[^/]+|files\/[^/]+)\.ts$|^log\/embedded\//;
  const wrong = imports.filter(
    ({ from, to, target }) => ['audit', 'proof'].includes(from) && from !== to && !shared.test(target),
  );
  expect(wrong.map(({ file, target }) => `${file} imports ${target}`)).toEqual([]);
});

test('the domain is pure: nothing in it reads a clock, a file or a network', () => {
  const effects = /\b(Date\.now|new Date\(\)|Math\.random|randomUUID|node:(fs|net|http|child_process))/;
  const files = ['domain', 'structures', 'api', 'search'].flatMap((room) =>
    readdirSync(join(src, room)).map((name) => join(room, name)),
  );
  const decisions = readdirSync(join(src, 'commands'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts') && name !== 'execute.ts')
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
