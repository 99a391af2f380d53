import type { Logger } from 'pino';
import type { BlobAccess } from '../access/blob-access.ts';
import type { Policy } from '../access/policy.ts';
import type { Artifacts } from '../artifacts/artifacts.ts';
import type { UnfinishedUploads } from '../artifacts/unfinished-uploads.ts';
import type { Execute } from '../commands/execute.ts';
import type { LogMessage } from '../log/read.ts';
import type { TailState } from '../log/supervise.ts';
import type { Fleet } from '../projections/fleet.ts';
import type { ListReader } from '../projections/lists/reader.ts';
import type { ReadModel } from '../projections/read-model/read-model.ts';
import type { IncompleteVersions } from '../projections/volume/missing-bytes.ts';
import type { Limiter } from '../structures/limiter.ts';
import type { SnapshotStream } from './api/snapshot-stream.ts';
import type { CallerServices } from './caller/identify.ts';
import type { AwaitRevision } from './server/min-revision.ts';

/** What the routes need; `serve.ts` creates it. */
export interface Services extends CallerServices {
  log: Logger;
  environments: readonly string[];
  /** Counts the requests of each caller; null: no limit. */
  limiter: Limiter | null;
  /** Origins whose pages may send requests with a token. */
  corsOrigins: readonly string[];
  policy: Policy;
  blobAccess: BlobAccess;
  readModel: ReadModel;
  readAt(revision: number): Promise<LogMessage | null>;
  lists: Pick<ListReader, 'list'>;
  artifacts: Pick<Artifacts, 'store' | 'reads'>;
  uploads: UnfinishedUploads;
  execute: Execute;
  snapshots: SnapshotStream;
  fleet: Fleet;
  /** Resolves when every event of the model folded so far shows on the volume, or after 5 seconds. */
  settled(model: string): Promise<void>;
  /** Lays the folder of a version; returns whether it is there within 5 seconds. */
  lay(model: string, version: string): Promise<boolean>;
  /** Differences between the volume and the log in one model, as sentences. */
  volumeProblems(model: string): string[];
  /** The revision that answers are computed at, as an opaque token. */
  revision(): string;
  awaitRevision: AwaitRevision;
  /** Whether the read model was at the head of the log since it was made: else it knows only a part of the models. */
  complete(): boolean;
  /** Whether the log cannot be followed at the moment, so that answers may be out of date. */
  stale(): boolean;
  health(): Health;
  metrics: HttpMetrics;
}

/** The metrics that routes count and show. */
export interface HttpMetrics {
  /** All metrics in the text format of Prometheus. */
  text(): Promise<string>;
  contentType: string;
  /** Counts a published version and its time from request to answer. */
  published(seconds: number): void;
  manifestCache(hit: boolean): void;
  /** Returns a counter of the answers of one route, by status. */
  requests(method: string, route: string): (status: number) => void;
}

export interface Health {
  log: TailState;
  /** Whether the log was read to its end once: answers are complete, though they may be old. */
  complete: boolean;
  gaps: readonly { first: number; last: number }[];
  /** Versions whose folders were looked at since the start, of those that are to have one. */
  volume_progress: { laid: number; total: number };
  volume: string[];
  /** Versions with bytes missing on this server. */
  artifacts: IncompleteVersions;
  discovery: string[];
  /** Why the artifact store cannot be used. */
  store: string[];
  /** Why the activation history cannot be written. */
  history: string[];
}
