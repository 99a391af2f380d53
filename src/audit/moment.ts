/** A point in a log: everything up to a revision, or everything that happened up to a time (in milliseconds). */
export type Moment = { revision: number } | { at: number };

const TIME = /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d(?:\.\d+)?)?)(Z|[+-]\d\d:\d\d)?)?$/i;

/** A revision, or an RFC 3339 time, of which all but the date may be left out; without an offset it is UTC. Else null. */
export function parseMoment(text: string): Moment | null {
  if (/^\d{1,15}$/.test(text)) return { revision: Number(text) };
  const [, date, time = '00:00', offset = 'Z'] = TIME.exec(text) ?? [];
  if (date === undefined) return null;
  const midnight = new Date(`${date}T00:00:00Z`);
  // JavaScript takes 30 February for 2 March.
  if (Number.isNaN(midnight.getTime()) || midnight.toISOString().slice(0, 10) !== date) return null;
  const at = Date.parse(`${date}T${time}${offset.toUpperCase()}`);
  return Number.isNaN(at) ? null : { at };
}
