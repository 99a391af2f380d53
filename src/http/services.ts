import type { Logger } from 'pino';
import type { BlobAccess } from '../access/blob-access.ts';
import type { Policy } from '../access/policy.ts';
import type { ArtifactStore } from '../artifacts/store.ts';
import type { Execute } from '../commands/execute.ts';
import type { LogMessage } from '../log/read.ts';
import type { TailState } from '../log/supervise.ts';
import type { Fleet } from '../projections/fleet.ts';
import type { Registry } from '../projections/registry.ts';
import type { IncompleteVersion } from '../projections/volume/missing-bytes.ts';
import type { Limiter } from '../structures/limiter.ts';
import type { EventStream } from './api/snapshot-stream.ts';
import type { CallerServices } from './caller/identify.ts';

/** What the routes stand on; `serve.ts` wires it. */
export interface Services extends CallerServices {
  log: Logger;
  environments: readonly string[];
  /** Requests of one caller; null for any number. */
  limiter: Limiter | null;
  /** Whose pages may call, with a token, from another origin. */
  corsOrigins: readonly string[];
  policy: Policy;
  blobAccess: BlobAccess;
  registry(): Registry;
  artifacts: ArtifactStore;
  execute: Execute;
  events: EventStream;
  fleet: Fleet;
  readAt(revision: number): Promise<LogMessage | null>;
  /** Resolves when every event folded so far shows on the volume. */
  settled(): Promise<void>;
  /** How far the answers know the log, as one opaque token. */
  revision(): string;
  /** Whether the log cannot be followed at the moment, so that answers may be old. */
  stale(): boolean;
  health(): Health;
  metrics: HttpMetrics;
}

/** What the routes count, and what they show of it. */
export interface HttpMetrics {
  /** In Prometheus' text format, with its media type. */
  text(): Promise<string>;
  contentType: string;
  /** A version was published; from the request to the answer. */
  published(seconds: number): void;
  manifestCache(hit: boolean): void;
  /** Counts the answers of one route, by status. */
  requests(method: string, route: string): (status: number) => void;
}

export interface Health {
  log: TailState;
  gaps: readonly { first: number; last: number }[];
  volume: string[];
  /** Versions whose bytes this server lacks, those that are active first. */
  artifacts: IncompleteVersion[];
  discovery: string[];
  /** Why the activation history is not written. */
  history: string[];
}
