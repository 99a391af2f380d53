/** API keys act as `key:<name>`. */
export const KEY_ACTOR_PREFIX = 'key:';
/** Reserved for discovery, for the collection of blobs, and for callers without a credential. */
const OWN_ACTORS = ['volume', 'registry', 'anonymous'];
const MAX_LENGTH = 200;

/** Controls, format characters such as U+202E, lone surrogates, private use, and line and paragraph separators. */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}]/u;

/**
 * Returns why a token's subject cannot be an actor, as the end of a sentence; null if it can. In the history, callers are
 * distinguished only by this name.
 */
export function actorNameProblem(name: string): string | null {
  if (name.length === 0 || name.length > MAX_LENGTH) return `must have 1 to ${MAX_LENGTH} characters`;
  const unprintable = UNPRINTABLE.exec(name)?.[0];
  if (unprintable !== undefined) return `contains ${codePoint(unprintable)}, which cannot be printed`;
  if (name.trim() !== name) return 'begins or ends with a space';
  // Full-width letters and capitals must not imitate a reserved name.
  const folded = name.normalize('NFKC').toLowerCase();
  if (folded.startsWith(KEY_ACTOR_PREFIX)) return `is reserved: names that begin with ${KEY_ACTOR_PREFIX} are API keys`;
  return OWN_ACTORS.includes(folded) ? `is reserved: the registry itself acts as ${folded}` : null;
}

function codePoint(character: string): string {
  return `U+${character.codePointAt(0)!.toString(16).toUpperCase().padStart(4, '0')}`;
}
