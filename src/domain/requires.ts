import { validRange as pep440Range, satisfies as pep440Satisfies, valid as pep440Version } from '@renovatebot/pep440';
import semver from 'semver';
import { z } from 'zod';

const PythonRange = z.string().refine(isPythonRange, 'must be a PEP 440 specifier, such as ~=1.5.1');
const NodeRange = z.string().refine((text) => semver.validRange(text) !== null, 'must be a node-semver range');
const PythonVersion = z.string().refine((text) => pep440Version(text) !== null, 'must be a PEP 440 version');
const NodeVersion = z.string().refine((text) => semver.valid(text) !== null, 'must be a semantic version');

/** Constraints on the process that loads a version. Python's are PEP 440 specifiers, Node's are node-semver ranges. */
export const Requires = z.strictObject({
  python: PythonRange.optional().meta({ example: '~=3.11.0' }),
  packages: z
    .record(z.string(), PythonRange)
    .optional()
    .meta({ example: { 'scikit-learn': '~=1.5.1' } }),
  node: NodeRange.optional(),
  npm: z.record(z.string(), NodeRange).optional(),
});
export type Requires = z.infer<typeof Requires>;

/** Facts about an environment or a process. */
export const Runtime = z.strictObject({
  python: PythonVersion.optional().meta({ example: '3.11.7' }),
  packages: z
    .record(z.string(), PythonVersion)
    .optional()
    .meta({ example: { 'scikit-learn': '1.5.2' } }),
  node: NodeVersion.optional(),
  npm: z.record(z.string(), NodeVersion).optional(),
});
export type Runtime = z.infer<typeof Runtime>;

export interface Mismatch {
  name: string;
  expected: string;
  actual: string;
  /** Who stated the fact: `declared` for the runtime of an environment. */
  source: string;
}

export interface RuntimeCheck {
  mismatches: Mismatch[];
  /** What is required but not stated by the runtime: a fact nobody knows blocks nothing. */
  unstated: string[];
}

export function checkRuntime(requires: Requires, runtime: Runtime, source: string): RuntimeCheck {
  const facts = named(runtime);
  const check: RuntimeCheck = { mismatches: [], unstated: [] };
  for (const [name, { text: expected, python }] of named(requires)) {
    const actual = facts.get(name)?.text;
    if (actual === undefined) check.unstated.push(name);
    else if (!satisfies(actual, expected, python)) check.mismatches.push({ name, expected, actual, source });
  }
  return check;
}

function satisfies(actual: string, expected: string, python: boolean): boolean {
  // A runtime is a fact: that it is a pre-release does not take it out of a range it lies in.
  if (python) return pep440Satisfies(actual, expected, { prereleases: true });
  return semver.satisfies(actual, expected, { includePrerelease: true });
}

/** Every entry under one name; a Python and an npm package of the same name stay apart. */
function named(facts: Requires | Runtime): Map<string, { text: string; python: boolean }> {
  const all = new Map<string, { text: string; python: boolean }>();
  if (facts.python !== undefined) all.set('python', { text: facts.python, python: true });
  if (facts.node !== undefined) all.set('node', { text: facts.node, python: false });
  for (const [name, text] of Object.entries(facts.packages ?? {})) all.set(packageName(name), { text, python: true });
  for (const [name, text] of Object.entries(facts.npm ?? {})) all.set(`npm:${name}`, { text, python: false });
  return all;
}

/** PEP 503: runs of `-`, `_` and `.` are one `-`, in lower case. */
export function packageName(name: string): string {
  return name.toLowerCase().replace(/[-_.]+/g, '-');
}

export function isPythonRange(text: string): boolean {
  return text.trim() !== '' && pep440Range(text) && pep440Version(text) === null;
}

/**
 * A version found in metadata as a constraint: a fact (`1.5.1`, or CPython's `3.11.7 (main, …)`) asks for the same
 * minor release, a written range is taken as it is, anything else says nothing.
 */
export function constraintFrom(text: string): string | null {
  const fact = pep440Version(text.trim().split(/\s/)[0] ?? '');
  if (fact !== null) return sameMinor(fact);
  return isPythonRange(text) ? text : null;
}

function sameMinor(fact: string): string {
  const [, epoch = '', major = '0', minor, pre = ''] =
    /^(\d+!)?(\d+)(?:\.(\d+))?(?:\.\d+)*((?:a|b|rc)\d+)?/.exec(fact) ?? [];
  return minor === undefined ? `~=${epoch}${major}.0` : `~=${epoch}${major}.${minor}.0${pre}`;
}
