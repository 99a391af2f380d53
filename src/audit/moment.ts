/** A point in a log: everything up to a revision, or everything that happened up to a time (ms since 1970). */
export type Moment = { revision: number } | { at: number };

const TIME = /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d(?:\.\d+)?)?)(Z|[+-]\d\d:\d\d)?)?$/i;

/** Parses a revision, or an RFC 3339 time: only the date is required, the default offset is UTC. Null if it is neither. */
export function parseMoment(text: string): Moment | null {
  if (/^\d{1,15}$/.test(text)) return { revision: Number(text) };
  const [, date, time = '00:00', offset = 'Z'] = TIME.exec(text) ?? [];
  if (date === undefined) return null;
  const midnight = new Date(`${date}T00:00:00Z`);
  // JavaScript parses 30 February as 2 March.
  if (Number.isNaN(midnight.getTime()) || midnight.toISOString().slice(0, 10) !== date) return null;
  const at = Date.parse(`${date}T${time}${offset.toUpperCase()}`);
  return Number.isNaN(at) ? null : { at };
}
