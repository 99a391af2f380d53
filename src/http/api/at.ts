import { z } from 'zod';
import type { VersionState } from '../../domain/model.ts';
import { type Past, pastOf } from '../../projections/past.ts';
import type { ModelEntry } from '../../projections/registry.ts';
import type { Services } from '../services.ts';
import { readEvents } from './read-event.ts';

const DateTime = z.iso.datetime({ offset: true });

/** An RFC 3339 time, parsed to ms since 1970. */
export const Time = z.string().transform((text, ctx) => {
  const time = timeOf(text);
  if (time === null) ctx.addIssue('must be an RFC 3339 time');
  return time ?? 0;
});

/** A moment of the log: up to and including a revision or a time (ms since 1970). */
export type At = { revision: number } | { time: number };

export const At = z
  .string()
  .transform((text, ctx): At => {
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

/** Returns a model as it was at a moment, and the revision of its last event then; 0 before the first. */
export function modelAt(entry: ModelEntry, at: At): Past & { revision: number } {
  const newest = entry.history.findLast((event) =>
    'revision' in at ? event.revision <= at.revision : event.at <= at.time,
  );
  const revision = newest?.revision ?? 0;
  return { ...pastOf(entry, revision), revision };
}

/** Returns versions with the notes that they had then. @throws {Problem} log-unavailable */
export async function withNotes(
  { notes }: Past,
  versions: VersionState[],
  services: Services,
): Promise<VersionState[]> {
  const revisions = versions.flatMap(({ version }) => notes.get(version) ?? []);
  const events = await readEvents(revisions, services);
  const texts = new Map(events.map(({ data }) => [data.version, String(data.notes)]));
  return versions.map((state) => ({ ...state, notes: texts.get(state.version) ?? state.notes }));
}
