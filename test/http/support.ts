import { Readable } from 'node:stream';
import type { HttpBindings } from '@hono/node-server';
import { createBlobAccess } from '../../src/access/blob-access.ts';
import { DEFAULT_POLICY } from '../../src/access/policy.ts';
import { createSessions } from '../../src/access/sessions.ts';
import { createSignIns } from '../../src/access/sign-ins.ts';
import { signToken, tokenVerifier } from '../../src/access/tokens.ts';
import { onVolume } from '../../src/artifacts/artifacts.ts';
import { openVolumeStore } from '../../src/artifacts/stores/volume.ts';
import { openUnfinishedUploads } from '../../src/artifacts/unfinished-uploads.ts';
import { activate } from '../../src/commands/activate.ts';
import { publish } from '../../src/commands/publish.ts';
import { Problem } from '../../src/domain/errors.ts';
import type { LoaderView } from '../../src/domain/fleet.ts';
import { createSnapshotStream } from '../../src/http/api/snapshot-stream.ts';
import { createApp } from '../../src/http/app.ts';
import { callerAddress } from '../../src/http/caller/address.ts';
import { createRevisionWait } from '../../src/http/server/min-revision.ts';
import type { Services } from '../../src/http/services.ts';
import { revisionToken } from '../../src/log/identity.ts';
import { createMetrics } from '../../src/metrics/metrics.ts';
import { listsInThisThread } from '../../src/projections/lists/reader.ts';
import { modelsWith } from '../../src/projections/read-model/references.ts';
import { file } from '../commands/support.ts';
import { temporaryFolder } from '../support/folder.ts';
import { createLogbook } from '../support/logbook.ts';

const SECRET = Buffer.from('a secret of at least thirty-two bytes');
const ENVIRONMENTS = ['production', 'staging'];

/** A version of one file, as a command takes it; its bytes are not in the store. */
export const CONTENT = { version: '1.0.0', artifacts: [file('model.txt')] };

/** A line of the log, and whether it was written as an error. */
export interface Line extends Record<string, unknown> {
  level: 'info' | 'error';
}

/**
 * The app over a logbook and a store of its own, without a network. The model `fraud` has version 1.0.0, active in
 * production. Commands are refused, as there is no stream to append to.
 */
export async function createTestApp(changed: Partial<Services> = {}) {
  const { readModel, messages, give } = createLogbook(ENVIRONMENTS);
  const volume = await temporaryFolder();
  const artifacts = onVolume(await openVolumeStore(volume));
  const lines: Line[] = [];
  const unavailable = async () => Promise.reject(new Problem('log-unavailable', 'There is no log in this test.'));
  const loaders: LoaderView[] = [];
  const services = {
    log: {
      info: (line: object) => void lines.push({ level: 'info', ...line }),
      error: (line: object) => void lines.push({ level: 'error', ...line }),
    } as unknown as Services['log'],
    environments: ENVIRONMENTS,
    corsOrigins: [],
    limiter: null,
    publicUrl: null,
    verify: tokenVerifier({ secrets: [SECRET] }),
    sessions: createSessions([SECRET]),
    signIns: createSignIns(),
    callerAddress: callerAddress([]),
    keys: { list: () => [] } as unknown as Services['keys'],
    signing: { secrets: [], nonces: { use: unavailable } },
    now: () => new Date(),
    policy: DEFAULT_POLICY,
    blobAccess: createBlobAccess(changed.policy ?? DEFAULT_POLICY, (digest) => modelsWith(readModel.db, digest)),
    readModel,
    lists: listsInThisThread(readModel, { policy: changed.policy ?? DEFAULT_POLICY, environments: ENVIRONMENTS }),
    artifacts,
    uploads: await openUnfinishedUploads(volume, artifacts),
    execute: unavailable,
    snapshots: createSnapshotStream({ readModel, environments: ENVIRONMENTS, stale: () => false }),
    fleet: { of: () => loaders, all: () => loaders, onReport: () => {}, report: unavailable, close: async () => {} },
    readAt: async (revision) => {
      const { body } = messages[revision - 1]!;
      return { revision, model: 'fraud', body };
    },
    settled: async () => {},
    lay: async () => true,
    volumeProblems: () => [],
    revision: () => revisionToken(readModel.committed),
    awaitRevision: createRevisionWait({ readModel, until: async () => false }),
    complete: () => true,
    stale: () => false,
    health: () => ({
      log: 'live',
      complete: true,
      gaps: [],
      volume_progress: { laid: 0, total: 0 },
      volume: [],
      artifacts: { count: 0, first: () => [] },
      discovery: [],
      store: [],
      history: [],
    }),
    metrics: createMetrics(ENVIRONMENTS),
    ...changed,
  } satisfies Services;
  give(publish, 'fraud', CONTENT, { at: '2026-03-03T14:00:00.000Z' });
  give(activate, 'fraud', { version: '1.0.0' }, { at: '2026-03-03T14:05:00.000Z' });
  return { request: requester(createApp(services, '0.0.0')), services, volume, readModel, lines, give };
}

export interface Asked {
  method?: string;
  headers?: Record<string, string>;
  /** Bytes that arrive at once; or a stream, so that a test decides when they arrive and how they end. */
  body?: string | Uint8Array<ArrayBuffer> | Readable;
  /** The address that the request comes from. */
  from?: string;
}

/** Sends requests with what the adapter of Node would add to them. */
function requester(app: ReturnType<typeof createApp>) {
  return (path: string, { method = 'GET', headers = {}, body, from = '192.0.2.1' }: Asked = {}) => {
    const node = { method, url: path, headers, socket: { remoteAddress: from } };
    const isStream = body instanceof Readable;
    const arriving = isStream ? body : Readable.from(body === undefined ? [] : [Buffer.from(body)]);
    const incoming = Object.assign(arriving, node, isStream && { complete: false });
    const env = { incoming, outgoing: {} } as unknown as HttpBindings;
    return app.request(path, { method, headers, ...(body !== undefined && !isStream && { body }) }, env);
  };
}

/** The header with a token of `actor`. */
export async function tokenOf(actor: string, role: 'admin' | 'user'): Promise<Record<string, string>> {
  return { Authorization: `Bearer ${await signToken(SECRET, { actor, role }, 600, new Date())}` };
}
