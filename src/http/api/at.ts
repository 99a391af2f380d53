import { z } from 'zod';
import { type ActiveView, activeView } from '../../api/views.ts';
import { Problem } from '../../domain/errors.ts';
import { environmentOf, type VersionState } from '../../domain/model.ts';
import { shortEpoch } from '../../log/identity.ts';
import { type Past, pastOf } from '../../projections/past.ts';
import type { ModelEntry } from '../../projections/registry.ts';
import type { HttpContext } from '../server/context.ts';
import { notModified } from '../server/etag.ts';
import type { Reply } from '../server/route.ts';
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
type At = { revision: number } | { time: number };

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

/**
 * What was active then. The past does not change: the ETag names it by the log and the model's newest event.
 *
 * @throws {Problem} no-active-version, log-unavailable
 */
export async function activeAt(
  c: HttpContext,
  entry: ModelEntry,
  { environment, at }: { environment: string; at: At },
  services: Services,
): Promise<Reply> {
  const past = standingAt(entry, at);
  const view = activeView(past.model, environment);
  if (!view) throw new Problem('no-active-version', `No version was active in ${environment} then.`, { environment });
  const { generation, epoch } = services.registry().position;
  const headers = { ETag: `"${generation}-${shortEpoch(epoch)}-${past.revision}"` };
  if (notModified(c, headers.ETag)) return { status: 304, headers };
  const [version] = await withNotes(past, [past.model.versions.get(view.version)!], services);
  const [moved] = await readEvents([environmentOf(past.model, environment).moved!.revision], services);
  const activated = {
    at: moved!.time,
    by: moved!.actor,
    reason: moved!.data.reason as string | null,
    revision: moved!.revision,
  };
  return { headers, json: { ...view, notes: version!.notes, activated } satisfies ActiveView };
}
