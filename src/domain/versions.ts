import semver from 'semver';
import { z } from 'zod';

export type Bump = 'major' | 'minor' | 'patch';

const MAX_LENGTH = 128;

/** A canonical semantic version without build metadata: one spelling for each version, and valid as a folder name. */
export const Version = z
  .string()
  .refine(isVersion, 'must be a canonical semantic version without build metadata, such as 1.2.0 or 2.0.0-rc.1')
  .meta({ example: '1.1.0', pattern: patternOfVersions(), maxLength: MAX_LENGTH });

/** Returns the expression that semver 2.0.0 suggests, without build metadata, for the API's documentation. */
function patternOfVersions(): string {
  const number = '(0|[1-9]\\d*)';
  const identifier = '(0|[1-9]\\d*|\\d*[a-zA-Z-][0-9a-zA-Z-]*)';
  return `^${number}\\.${number}\\.${number}(-${identifier}(\\.${identifier})*)?$`;
}

export function isVersion(text: string): boolean {
  // semver's parser accepts "v1.0.0" and drops "+build", so its result must equal the text.
  return text.length <= MAX_LENGTH && semver.parse(text)?.version === text;
}

/** Compares by precedence, lowest first (semver 2.0.0, section 11). */
export function compareVersions(a: string, b: string): number {
  return semver.compare(a, b);
}

/**
 * Returns the one of two versions that `latest` prefers: a release before a pre-release, then the higher one. Null stands
 * for no version.
 */
export function preferred(a: string | null, b: string | null): string | null {
  if (a === null || b === null) return a ?? b;
  if (isRelease(a) !== isRelease(b)) return isRelease(a) ? a : b;
  return compareVersions(a, b) >= 0 ? a : b;
}

export function isRelease(version: string): boolean {
  return !version.includes('-');
}

/** Returns the next version after the highest one; after no version, 1.0.0, 0.1.0 or 0.0.1. */
export function bumped(highest: string | null, bump: Bump): string {
  return semver.inc(highest ?? '0.0.0', bump)!;
}

/**
 * Returns a text for each version such that texts compare byte by byte as versions do by precedence (semver 2.0.0,
 * section 11), so that a database can sort versions.
 *
 * @example precedence('1.10.0') // '0011' + '00210' + '0010' + '~'
 */
export function precedence(version: string): string {
  const dash = version.indexOf('-');
  const core = dash === -1 ? version : version.slice(0, dash);
  const numbers = core.split('.').map(sortableNumber).join('');
  // A release comes after its pre-releases, and "~" after every identifier.
  return dash === -1
    ? `${numbers}~`
    : `${numbers}${version
        .slice(dash + 1)
        .split('.')
        .map(sortableIdentifier)
        .join('')}`;
}

/** Numeric identifiers come before others, and each identifier ends with a character that is lower than all in it. */
function sortableIdentifier(identifier: string): string {
  return /^\d+$/.test(identifier) ? `0${sortableNumber(identifier)}!` : `1${identifier}!`;
}

/** The number of digits, in three digits, before the digits. */
function sortableNumber(digits: string): string {
  return String(digits.length).padStart(3, '0') + digits;
}
