import { z } from 'zod';
import type { VersionState } from '../../domain/model.ts';
import { type Past, pastOf } from '../../projections/past.ts';
import type { ModelEntry } from '../../projections/registry.ts';
import type { Services } from '../services.ts';
import { readEvents } from './read-event.ts';

const DateTime = z.iso.datetime({ offset: true });

/** An RFC 3339 time, in milliseconds since 1970. */
export const Time = z.string().transform((text, ctx) => {
  const time = timeOf(text);
  if (time === null) ctx.addIssue('must be an RFC 3339 time');
  return time ?? 0;
});

/** A moment of the log: everything up to a revision, or up to and including a time. */
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
    description: 'A revision or an RFC 3339 time: the answer as it stood then',
    anyOf: [{ pattern: '^\\d{1,15}$' }, { format: 'date-time' }],
    example: '2026-03-03T14:05:00Z',
  });

/** A plus sign that was not encoded arrives as a space. */
function timeOf(text: string): number | null {
  const found = DateTime.safeParse(text.replace(' ', '+'));
  return found.success ? Date.parse(found.data) : null;
}

/** A model as it stood at a moment, and the newest of its events then; 0 for none. */
export function standingAt(entry: ModelEntry, at: At): Past & { revision: number } {
  const newest = entry.history.findLast((event) =>
    'revision' in at ? event.revision <= at.revision : event.at <= at.time,
  );
  const revision = newest?.revision ?? 0;
  return { ...pastOf(entry, revision), revision };
}

/** Versions with the notes that they had then. @throws {Problem} log-unavailable */
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
