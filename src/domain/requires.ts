import {
  compare as comparePep440,
  explain as explainPep440,
  parse as parsePep440,
  validRange as pep440Range,
  satisfies as pep440Satisfies,
  valid as pep440Version,
} from '@renovatebot/pep440';
import semver from 'semver';
import { z } from 'zod';
import { record } from './json.ts';

const PythonRange = z.string().refine(isPythonRange, 'must be a PEP 440 specifier, such as ~=1.5.1');
const NodeRange = z.string().refine((text) => semver.validRange(text) !== null, 'must be a node-semver range');
const PythonVersion = z.string().refine((text) => pep440Version(text) !== null, 'must be a PEP 440 version');
const NodeVersion = z.string().refine((text) => semver.valid(text) !== null, 'must be a semantic version');

/** Constraints on the process that loads a version: PEP 440 specifiers for Python, node-semver ranges for Node. */
export const Requires = z.strictObject({
  python: PythonRange.optional().meta({ example: '~=3.11.0' }),
  packages: packages(PythonRange)
    .optional()
    .meta({ example: { 'scikit-learn': '~=1.5.1' } }),
  node: NodeRange.optional(),
  npm: record(NodeRange).optional(),
});
export type Requires = z.infer<typeof Requires>;

/** Versions that are installed in an environment or a process. */
export const Runtime = z.strictObject({
  python: PythonVersion.optional().meta({ example: '3.11.7' }),
  packages: packages(PythonVersion)
    .optional()
    .meta({ example: { 'scikit-learn': '1.5.2' } }),
  node: NodeVersion.optional(),
  npm: record(NodeVersion).optional(),
});
export type Runtime = z.infer<typeof Runtime>;

/** Python packages. Two spellings of one package are refused, because only one of their values would be kept. */
function packages(values: z.ZodString) {
  return record(values).refine(
    (named) => new Set(Object.keys(named).map(packageName)).size === Object.keys(named).length,
    'must not name a package twice',
  );
}

export interface Mismatch {
  name: string;
  expected: string;
  actual: string;
  /** The source of `actual`: `declared` for the runtime of an environment, `loader` for a loader's own. */
  source: string;
}

export interface RuntimeCheck {
  mismatches: Mismatch[];
  /** Names that are required but missing from the runtime. They block nothing, because their versions are unknown. */
  unstated: string[];
}

export function checkRuntime(requires: Requires, runtime: Runtime, source: string): RuntimeCheck {
  const facts = named(runtime);
  const check: RuntimeCheck = { mismatches: [], unstated: [] };
  for (const [key, { name, text: expected, python }] of named(requires)) {
    const actual = facts.get(key)?.text;
    if (actual === undefined) check.unstated.push(name);
    else if (!satisfies(actual, expected, python)) check.mismatches.push({ name, expected, actual, source });
  }
  return check;
}

function satisfies(actual: string, expected: string, python: boolean): boolean {
  // An installed pre-release satisfies every range that includes it, although both specifications exclude pre-releases.
  if (!python) return semver.satisfies(actual, expected, { includePrerelease: true });
  return expected.split(',').every((specifier) => satisfiesPep440(actual, specifier.trim()));
}

/** PEP 440, where the library differs from it: exclusive comparisons, arbitrary equality, and prefixes longer than the version. */
function satisfiesPep440(actual: string, specifier: string): boolean {
  const [, operator, operand = ''] = /^(===|~=|==|!=|<=|>=|<|>)\s*(.*)$/s.exec(specifier) ?? [];
  if (operator === '===') return actual.toLowerCase() === operand.toLowerCase();
  if (operator === '<') return isBelow(actual, operand);
  if (operator === '>') return comparePep440(actual, operand) > 0 && !isLaterBuild(actual, operand);
  // The prefix of "==1.5.0.*" and "~=1.5.0.0" may have more numbers than the version: missing ones are zeros.
  return pep440Satisfies(padded(actual, operand), specifier, { prereleases: true });
}

/** "<1.0" excludes the pre-releases of 1.0. */
function isBelow(actual: string, limit: string): boolean {
  return comparePep440(actual, explainPep440(limit)?.is_prerelease ? limit : `${limit}.dev0`) < 0;
}

/** ">1.0" excludes 1.0.post1 and 1.0+local, which sort after 1.0. */
function isLaterBuild(actual: string, limit: string): boolean {
  const [version, of] = [explainPep440(actual)!, explainPep440(limit)!];
  if (of.is_devrelease || of.is_postrelease) return comparePep440(version.public, of.public) === 0;
  const head = ({ base_version, pre }: typeof version) => base_version + (pre?.join('') ?? '');
  return comparePep440(head(version), head(of)) === 0;
}

function padded(actual: string, operand: string): string {
  const wanted = parsePep440(operand.replace(/\.\*$/, ''))?.release.length ?? 0;
  return actual.replace(/^(v?(?:\d+!)?)(\d+(?:\.\d+)*)/i, (_, start: string, release: string) => {
    const missing = Math.max(0, wanted - release.split('.').length);
    return `${start}${release}${'.0'.repeat(missing)}`;
  });
}

interface Named {
  name: string;
  text: string;
  python: boolean;
}

/** Returns every entry under a unique key: `python`, a package `python` and an npm package `python` are distinct. */
function named({ python, node, packages = {}, npm = {} }: Requires | Runtime): Map<string, Named> {
  const all = new Map<string, Named>();
  if (python !== undefined) all.set('python', { name: 'python', text: python, python: true });
  if (node !== undefined) all.set('node', { name: 'node', text: node, python: false });
  for (const [spelling, text] of Object.entries(packages)) {
    const name = packageName(spelling);
    all.set(`packages/${name}`, { name, text, python: true });
  }
  for (const [name, text] of Object.entries(npm)) all.set(`npm/${name}`, { name: `npm:${name}`, text, python: false });
  return all;
}

/** Returns every entry as a line, such as `python ~=3.11.0` or `npm:onnxruntime-node ^1.20.0`. */
export function spelled(stated: Requires | Runtime): string[] {
  return [...named(stated).values()].map(({ name, text }) => `${name} ${text}`);
}

/** Normalizes a package name (PEP 503): lower case, with runs of `-`, `_` and `.` replaced by one `-`. */
export function packageName(name: string): string {
  return name.toLowerCase().replace(/[-_.]+/g, '-');
}

export function isPythonRange(text: string): boolean {
  return text.trim() !== '' && text.isWellFormed() && pep440Range(text) && pep440Version(text) === null;
}

/** Far longer than any real version or range. */
const MAX_CONSTRAINT_LENGTH = 1_000;

/**
 * Returns a version from metadata as a constraint. An installed version (`1.5.1`, CPython's `3.11.7 (main, …)`) becomes
 * "same minor release", a range is returned unchanged, and anything else gives null.
 */
export function constraintFrom(text: string): string | null {
  if (text.length > MAX_CONSTRAINT_LENGTH) return null;
  const fact = pep440Version(text.trim().split(/\s/)[0] ?? '');
  if (fact !== null) return sameMinor(fact);
  return isPythonRange(text) ? text : null;
}

/** Returns the constraint "same minor release"; null if the numbers are too large for a specifier. */
function sameMinor(fact: string): string | null {
  const { epoch, release, pre, dev } = parsePep440(fact)!;
  const [major, minor, ...rest] = release;
  const first = minor === undefined ? `${major}.0` : `${major}.${minor}.0`;
  // A pre-release of the first version of a minor release is lower than that version, so the range starts there.
  const before = rest.some((part) => part > 0) ? '' : `${pre?.join('') ?? ''}${dev ? `.dev${dev[1]}` : ''}`;
  const range = `~=${epoch > 0 ? `${epoch}!` : ''}${first}${before}`;
  return isPythonRange(range) ? range : null;
}
