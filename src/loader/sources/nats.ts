import { Target } from '../../domain/fleet.ts';
import type { Nats } from '../../log/connection.ts';
import { type LogPosition, parsePositionId, positionId, shortEpoch } from '../../log/identity.ts';
import { activeAfter, tailModel } from '../../log/model-tail.ts';
import type { LogMessage } from '../../log/read.ts';
import type { LoaderLog } from '../log.ts';
import { createMailbox } from '../mailbox.ts';
import type { FollowedPosition } from '../position.ts';
import type { Sighting, Source } from './source.ts';

/** Longest time without a connection to the log before it is reported. */
const TIMINGS = { silentMs: 90_000 };

/** Follows a model by its subject in the log. Every reconnect checks that it is still the same log. */
export function natsSource(
  { nats, model, environment, log }: { nats: Nats; model: string; environment: string; log: LoaderLog },
  { silentMs } = TIMINGS,
): Source {
  return {
    async *follow(held, signal) {
      const inbox = createMailbox<Sighting>();
      let logPosition: LogPosition | null = held && parsePositionId(held.id);
      let last: Sighting | null = null;
      let silence: NodeJS.Timeout | undefined;
      const tail = tailModel(nats, model, {
        position: () => logPosition,
        last(message, at) {
          logPosition = at;
          try {
            last = sightingOf(message, at, environment);
            inbox.put(last);
          } catch (error) {
            log.warn({ err: error, revision: at.revision }, 'skipped an event of the model that cannot be read');
          }
        },
        state(state, why) {
          if (state === 'cut-off') {
            log.debug({ err: why }, 'the log cannot be reached');
            silence ??= setTimeout(() => inbox.put({ state: 'silent' }), silentMs).unref();
            return;
          }
          clearTimeout(silence);
          silence = undefined;
          if (state === 'diverged') inbox.put({ state });
          else if (last) inbox.put(last);
        },
      });
      try {
        yield* inbox.take(signal);
      } finally {
        clearTimeout(silence);
        await tail.close();
      }
    },
  };
}

function sightingOf(message: LogMessage | null, logPosition: LogPosition, environment: string): Sighting {
  const { generation, epoch, revision } = logPosition;
  const position: FollowedPosition = { generation, epoch: shortEpoch(epoch), revision, id: positionId(logPosition) };
  if (!message) return { state: 'following', position, target: null, stale: false };
  const pointer = activeAfter(message)[environment];
  if (pointer === undefined) return { state: 'unknown-environment' };
  const { version, manifest_digest, request_id } = pointer ?? {};
  const target = pointer && Target.parse({ version, manifest_digest, revision: pointer.revision });
  return { state: 'following', position, target, request_id, stale: false };
}
