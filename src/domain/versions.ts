import semver from 'semver';
import { z } from 'zod';

export type Bump = 'major' | 'minor' | 'patch';

const MAX_LENGTH = 128;

/** A canonical semantic version without build metadata: one spelling a version, and one that is safe as a folder. */
export const Version = z
  .string()
  .refine(isVersion, 'must be a canonical semantic version without build metadata, such as 1.2.0 or 2.0.0-rc.1')
  .meta({ example: '1.1.0', pattern: patternOfVersions(), maxLength: MAX_LENGTH });

/** The same for the API's documentation (semver 2.0.0, the expression it suggests, without build metadata). */
function patternOfVersions(): string {
  const number = '(0|[1-9]\\d*)';
  const identifier = '(0|[1-9]\\d*|\\d*[a-zA-Z-][0-9a-zA-Z-]*)';
  return `^${number}\\.${number}\\.${number}(-${identifier}(\\.${identifier})*)?$`;
}

export function isVersion(text: string): boolean {
  // semver's parser accepts "v1.0.0" and drops "+build", so what it makes of the text must be the text itself.
  return text.length <= MAX_LENGTH && semver.parse(text)?.version === text;
}

/** Order of precedence, lowest first (semver 2.0.0, section 11). */
export function compareVersions(a: string, b: string): number {
  return semver.compare(a, b);
}

/** The highest version that is no pre-release; if there is none, the highest pre-release; of nothing, null. */
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

/** The version that follows all of `versions`; the first ones are 1.0.0, 0.1.0 and 0.0.1. */
export function bumped(versions: Iterable<string>, bump: Bump): string {
  return semver.inc(highest(versions) ?? '0.0.0', bump)!;
}
