import { isMove } from '../domain/events.ts';
import { createSnapshotStream, type SnapshotStream } from '../http/api/snapshot-stream.ts';
import { createApp } from '../http/app.ts';
import { listen } from '../http/server/listen.ts';
import { createRevisionWait } from '../http/server/min-revision.ts';
import type { Services } from '../http/services.ts';
import { revisionToken } from '../log/identity.ts';
import { readAt } from '../log/read.ts';
import type { ListReader } from '../projections/lists/reader.ts';
import type { Projector } from '../projections/projector.ts';
import type { VolumeProjection } from '../projections/volume/volume.ts';
import { version } from '../version.ts';
import type { Opened, Parts } from './parts.ts';

/** Sends each move to the followers of its model; after a restore of the log, followers must connect again. */
export function openSnapshots(projector: Projector, environments: readonly string[]): SnapshotStream {
  const { readModel } = projector;
  const snapshots = createSnapshotStream({ readModel, environments, stale: () => projector.state() !== 'live' });
  projector.onEvent((applied) => {
    if (applied === null) snapshots.endAll();
    else if (isMove(applied.event)) snapshots.send(applied.event.model);
  });
  return snapshots;
}

type Derived =
  | 'now'
  | 'readModel'
  | 'lists'
  | 'readAt'
  | 'settled'
  | 'lay'
  | 'volumeProblems'
  | 'revision'
  | 'awaitRevision'
  | 'complete'
  | 'stale';

/** Serves the API; returns its address. */
export async function startHttp(
  { config, nats, projector }: Parts,
  services: Omit<Services, Derived>,
  files: VolumeProjection,
  lists: ListReader,
  opened: Opened,
): Promise<string> {
  const { readModel } = projector;
  const app = createApp(
    {
      ...services,
      now: () => new Date(),
      readModel,
      lists,
      readAt: (revision) => readAt(nats, revision),
      settled: files.settled,
      lay: files.lay,
      volumeProblems: files.problems,
      revision: () => revisionToken(readModel.committed),
      awaitRevision: createRevisionWait(projector),
      complete: projector.complete,
      stale: () => projector.state() !== 'live',
    },
    version,
  );
  const server = await listen(app, { hostname: config.HOST, port: config.PORT });
  opened(() => {
    const served = server.close();
    services.snapshots.close();
    return served;
  });
  return server.url;
}
