import { Problem } from '../domain/errors.ts';

export interface UploadLimits {
  caller: Use;
  all: Use;
}

interface Use {
  uploads: number;
  bytes: number;
}

const GIB = 1024 ** 3;

/** Limits of what unfinished uploads take (docs/security.md, "Limits"). */
export const LIMITS: UploadLimits = {
  caller: { uploads: 64, bytes: 128 * GIB },
  all: { uploads: 1024, bytes: 512 * GIB },
};

/** The beginning of the names that one caller's uploads share. */
export const CALLER_LENGTH = 32;

/**
 * Checks that an upload may get `more` bytes.
 *
 * @param kept the sizes of all unfinished uploads, by name
 * @throws {Problem} too-many-uploads
 */
export function checkUse(kept: ReadonlyMap<string, number>, name: string, more: number, limits: UploadLimits): void {
  const caller = name.slice(0, CALLER_LENGTH);
  const grown = new Map(kept).set(name, (kept.get(name) ?? 0) + more);
  const own = [...grown].filter(([other]) => other.startsWith(caller));
  if (exceeds(own, limits.caller)) throw tooMany('You may have', limits.caller);
  if (exceeds([...grown], limits.all)) throw tooMany('All callers together may have', limits.all);
}

function exceeds(uploads: [string, number][], { uploads: count, bytes }: Use): boolean {
  return uploads.length > count || uploads.reduce((sum, [, size]) => sum + size, 0) > bytes;
}

function tooMany(who: string, { uploads, bytes }: Use): Problem {
  const most = `${who} ${uploads} unfinished uploads with ${bytes} bytes on this server.`;
  return new Problem('too-many-uploads', `${most} Complete one of them, or send this blob with PUT.`, {
    uploads,
    bytes,
  });
}
