import type { Logger } from 'pino';
import type { KeyStore } from '../access/key-store.ts';
import type { Policy } from '../access/policy.ts';
import type { Sessions } from '../access/sessions.ts';
import type { SignIns } from '../access/sign-ins.ts';
import type { VerifyToken } from '../access/tokens.ts';
import type { ArtifactStore } from '../artifacts/store.ts';
import type { Dispatch } from '../commands/dispatch.ts';
import type { Limiter } from '../domain/limiter.ts';
import type { LogMessage } from '../log/read.ts';
import type { TailState } from '../log/supervise.ts';
import type { Fleet } from '../projections/fleet.ts';
import type { IncompleteVersion } from '../projections/missing-bytes.ts';
import type { Registry } from '../projections/registry.ts';
import type { BlobAccess } from './blob-access.ts';
import type { CallerAddress } from './caller-address.ts';
import type { EventStream } from './event-stream.ts';
import type { Signing } from './signed-request.ts';

/** What the routes stand on; `serve.ts` wires it. */
export interface Services {
  log: Logger;
  environments: readonly string[];
  /** Of a token or an API key. */
  verify: VerifyToken;
  keys: KeyStore;
  signing: Signing;
  sessions: Sessions;
  signIns: SignIns;
  /** Requests of one caller; null for any number. */
  limiter: Limiter | null;
  callerAddress: CallerAddress;
  /** Where browsers reach the registry; null: only on this machine. */
  publicUrl: URL | null;
  /** Whose pages may call, with a token, from another origin. */
  corsOrigins: readonly string[];
  now(): Date;
  policy: Policy;
  blobAccess: BlobAccess;
  registry(): Registry;
  artifacts: ArtifactStore;
  dispatch: Dispatch;
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
