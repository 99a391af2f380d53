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

/** Returns the highest release; if there is no release, the highest pre-release; if there is no version, null. */
export function highest(versions: Iterable<string>): string | null {
  let release: string | null = null;
  let prerelease: string | null = null;
  for (const version of versions) {
    if (semver.prerelease(version)) {
      if (prerelease === null || semver.gt(version, prerelease)) prerelease = version;
    } else if (release === null || semver.gt(version, release)) release = version;
  }
  return release ?? prerelease;
}

/** Returns the next version after all of `versions`; after no version, 1.0.0, 0.1.0 or 0.0.1. */
export function bumped(versions: Iterable<string>, bump: Bump): string {
  return semver.inc(highest(versions) ?? '0.0.0', bump)!;
}
