import type { z } from 'zod';
import { type EventView, eventView } from '../../api/views.ts';
import { Problem } from '../../domain/errors.ts';
import { decodeEvent } from '../../log/codec.ts';
import type { Services } from '../services.ts';

const READ_AT_ONCE = 32;

type Event = z.infer<typeof EventView>;

/** Reads events from the log by their revisions. @throws {Problem} log-unavailable */
export async function readEvents(revisions: number[], services: Pick<Services, 'readAt'>): Promise<Event[]> {
  const events: Event[] = [];
  for (let i = 0; i < revisions.length; i += READ_AT_ONCE) {
    const some = revisions.slice(i, i + READ_AT_ONCE);
    events.push(...(await Promise.all(some.map((revision) => readEvent(revision, services)))));
  }
  return events;
}

async function readEvent(revision: number, { readAt }: Pick<Services, 'readAt'>): Promise<Event> {
  const message = await readAt(revision).catch((cause: unknown) => {
    throw new Problem('log-unavailable', 'The log cannot be read at the moment. Try again.', {}, cause);
  });
  const event = message && decodeEvent(message.body).event;
  if (!event) throw new Problem('log-unavailable', `The event ${revision} is no longer in the log.`, { revision });
  return eventView(revision, event);
}
