import { jetstream, StorageType } from '@nats-io/jetstream';
import { Kvm } from '@nats-io/kv';
import type { Logger } from 'pino';
import { Problem } from '../domain/errors.ts';
import { parsedOrNull } from '../domain/json.ts';
import { type BucketEntry, watchBucket } from '../log/bucket-watch.ts';
import type { Nats } from '../log/connection.ts';
import { replicasOf } from '../log/stream.ts';
import { BoundedMap } from '../structures/bounded-map.ts';
import { KEY_ACTOR_PREFIX } from './actor-name.ts';
import { isSecretOf, KeyRecord, parseKey } from './keys.ts';
import type { Identity } from './policy.ts';
import { isSigningKey } from './signing-key.ts';

/** API keys. They are stored in NATS, and every server keeps a copy in memory, which it also uses while NATS is down. */
export interface KeyStore {
  /** Resolves when all existing keys were read. */
  ready(): Promise<void>;
  /** @throws {Problem} unauthenticated, without stating whether the key is unknown, revoked, expired or altered */
  verify(key: string): Identity;
  /**
   * Returns the identity of a signing key, if `isSigned` returns true.
   *
   * @throws {Problem} unauthenticated, as `verify`
   */
  signer(id: string, isSigned: () => boolean): Identity;
  list(): KeyRecord[];
  /** @throws {Problem} log-unavailable */
  add(record: KeyRecord): Promise<void>;
  /** @throws {Problem} unknown-key, log-unavailable */
  revoke(id: string): Promise<void>;
  close(): Promise<void>;
}

export const KEYS = 'signalbox_keys';
const MAX_KEYS = 10_000;
const MAX_RECORD_BYTES = 64 * 1024;
const TIMEOUT_MS = 5_000;
/** The last use is stored once an hour: a write for every request would be too many. */
const USED_EVERY_MS = 3600_000;

interface Known {
  record: KeyRecord;
  revision: number;
}

export function openKeyStore(nats: Nats, log: Logger, now: () => Date = () => new Date()): KeyStore {
  const js = jetstream(nats.nc, { timeout: TIMEOUT_MS });
  let keys = new BoundedMap<string, Known>(MAX_KEYS);
  /** By key, valid while its record is unchanged. Hashing the key for every request would cost a third of the read rate. */
  const verified = new BoundedMap<string, Known>(MAX_KEYS);
  const caughtUp = Promise.withResolvers<void>();
  /** After a reconnect, all keys are read again into this map: a recreated bucket does not report revoked keys. */
  let reading: typeof keys | null = null;
  const watch = watchBucket(nats, KEYS, ensureKeys, {
    begun() {
      reading = new BoundedMap(MAX_KEYS);
    },
    entry: learn,
    caughtUp() {
      keys = reading ?? keys;
      reading = null;
      caughtUp.resolve();
    },
    state(state, err) {
      if (state === 'cut-off') log.debug({ state, err }, 'api keys');
    },
  });

  return { ready: () => caughtUp.promise, verify, signer, list, add, revoke, close: () => watch.close() };

  function learn({ key: id, value, revision }: BucketEntry): void {
    // An invalid record gives no access.
    const record = value === null ? null : parsedOrNull(KeyRecord, value);
    const known = reading ?? keys;
    if (record) known.set(id, { record, revision });
    else known.delete(id);
  }

  function verify(key: string): Identity {
    const before = verified.get(key);
    if (before && keys.get(before.record.id) === before) return admit(before.record.id, () => true);
    if (isSigningKey(key)) {
      throw new Problem('unauthenticated', 'A signing key must not be sent. Revoke this one and create another.');
    }
    const parsed = parseKey(key);
    const identity = admit(parsed?.id, (record) => record.kind === 'bearer' && isSecretOf(record, parsed!.secret));
    verified.set(key, keys.get(parsed!.id)!);
    return identity;
  }

  function signer(id: string, isSigned: () => boolean): Identity {
    return admit(id, (record) => record.kind === 'signing' && isSigned());
  }

  function admit(id: string | undefined, proves: (record: KeyRecord) => boolean): Identity {
    const known = id === undefined ? undefined : keys.get(id);
    if (!known || !proves(known.record) || isExpired(known.record)) {
      throw new Problem('unauthenticated', 'The API key or signature is not valid. The key may be revoked or expired.');
    }
    noteUse(known);
    return { actor: `${KEY_ACTOR_PREFIX}${known.record.name}`, role: null, groups: [], reaches: [known.record.reach] };
  }

  function isExpired({ expires_at }: KeyRecord): boolean {
    return expires_at !== null && Date.parse(expires_at) <= now().getTime();
  }

  /** Updates only the known revision: a key that was revoked in the meantime must not be restored. */
  function noteUse(known: Known): void {
    const last = known.record.last_used_at;
    if (last !== null && now().getTime() - Date.parse(last) < USED_EVERY_MS) return;
    const record = { ...known.record, last_used_at: now().toISOString() };
    known.record = record;
    bucket()
      .then((keys) => keys.update(record.id, JSON.stringify(record), known.revision))
      .catch((err: unknown) => log.debug({ err, key: record.id }, 'the last use of a key was not stored'));
  }

  function list(): KeyRecord[] {
    return [...keys.values()].map(({ record }) => record);
  }

  async function add(record: KeyRecord): Promise<void> {
    if (keys.size >= MAX_KEYS) throw new Problem('conflict', `There are ${MAX_KEYS} keys already. Revoke some first.`);
    const revision = await written(async () => (await bucket()).create(record.id, JSON.stringify(record)));
    keys.set(record.id, { record, revision });
  }

  async function revoke(id: string): Promise<void> {
    if (!keys.has(id)) throw new Problem('unknown-key', `There is no key ${id}.`);
    await written(async () => (await bucket()).delete(id));
    keys.delete(id);
  }

  async function ensureKeys(): Promise<void> {
    const replicas = replicasOf(nats.nc);
    await new Kvm(js).create(KEYS, { storage: StorageType.File, history: 1, maxValueSize: MAX_RECORD_BYTES, replicas });
  }

  async function bucket() {
    return new Kvm(js).open(KEYS);
  }

  async function written<T>(write: () => Promise<T>): Promise<T> {
    try {
      return await write();
    } catch (cause) {
      throw new Problem('log-unavailable', 'NATS did not confirm the change. Check the list of keys.', {}, cause);
    }
  }
}
