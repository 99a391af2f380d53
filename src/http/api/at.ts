import { z } from 'zod';
import type { At as Moment } from '../../projections/read-model/past-model.ts';

const DateTime = z.iso.datetime({ offset: true });

/** An RFC 3339 time, parsed to ms since 1970. */
export const Time = z.string().transform((text, ctx) => {
  const time = timeOf(text);
  if (time === null) ctx.addIssue('must be an RFC 3339 time');
  return time ?? 0;
});

export const At = z
  .string()
  .transform((text, ctx): Moment => {
    if (/^\d{1,15}$/.test(text)) return { revision: Number(text) };
    const time = timeOf(text);
    if (time === null) ctx.addIssue('must be a revision or an RFC 3339 time');
    return { time: time ?? 0 };
  })
  .meta({
    description: 'A revision or an RFC 3339 time: answers with the state at that moment',
    anyOf: [{ pattern: '^\\d{1,15}$' }, { format: 'date-time' }],
    example: '2026-03-03T14:05:00Z',
  });

/** A plus sign that is not percent-encoded arrives as a space. */
function timeOf(text: string): number | null {
  const found = DateTime.safeParse(text.replace(' ', '+'));
  return found.success ? Date.parse(found.data) : null;
}
