import { Problem } from '../../domain/errors.ts';
import type { EventDraft } from '../../domain/events.ts';
import type { ServerAnnouncement } from '../../log/servers.ts';

/**
 * Refuses an event that another live server would freeze its model at (docs/events.md, "How events change").
 *
 * @param version the version of the event's type that is about to be written
 * @param unable a live server that cannot read it, or null
 * @throws {Problem} upgrade-pending
 */
export function checkReadable(
  { type, ignorable }: Pick<EventDraft, 'type' | 'ignorable'>,
  version: number,
  unable: ServerAnnouncement | null,
): void {
  if (ignorable || unable === null) return;
  const { server, address, host, version: runs, reads } = unable;
  const detail =
    `The server at ${address} (host ${host}) runs Signalbox ${runs} and cannot read the event ${type} in version ${version}. ` +
    'Upgrade or stop that server, then repeat the command.';
  throw new Problem('upgrade-pending', detail, { server, address, version: runs, reads });
}
