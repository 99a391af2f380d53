const DAY_MS = 24 * 3600_000;
const DATE = /^\d{4}-\d{2}-\d{2}$/;
const TIME = /^\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})$/;

/** The milliseconds since 1970 that a literal covers: a whole day in UTC for a date, one for a time. `until` is outside. */
export interface Period {
  from: number;
  until: number;
}

/** Returns the period of a date or of a time as RFC 3339 writes it; null for any other text. */
export function periodOf(text: string): Period | null {
  const isDate = DATE.test(text);
  if (!isDate && !TIME.test(text)) return null;
  // Date accepts the 31st of every month, but moves it: so the day must come back as it was.
  const day = Date.parse(`${text.slice(0, 10)}T00:00:00Z`);
  if (Number.isNaN(day) || new Date(day).toISOString().slice(0, 10) !== text.slice(0, 10)) return null;
  if (isDate) return { from: day, until: day + DAY_MS };
  const from = Date.parse(text.toUpperCase().replace(' ', 'T'));
  return Number.isNaN(from) ? null : { from, until: from + 1 };
}
