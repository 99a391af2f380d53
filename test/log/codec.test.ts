import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { EVENT_TYPES, type EventType, type RegistryEvent } from '../../src/domain/events.ts';
import { decodeEvent, encodeEvent, Undecodable } from '../../src/log/codec.ts';
import { type Upcasters, upcast } from '../../src/log/upcast.ts';

const PREV = 'ab'.repeat(32);

describe('an event', () => {
  test('is decoded as it was encoded, for every type and any text', () => {
    fc.assert(
      fc.property(events, hashes, (event, prevhash) => {
        expect(decodeEvent(encodeEvent(event, prevhash))).toEqual({ event, prevhash });
      }),
      { numRuns: 300 },
    );
  });

  test('is a CloudEvent in structured mode', () => {
    expect(JSON.parse(encodeEvent(notes, PREV).toString())).toEqual({
      specversion: '1.0',
      id: 'e-1',
      source: 'urn:signalbox:registry',
      type: 'signalbox.notes.changed.v1',
      subject: 'fraud',
      time: '2026-03-03T14:05:00Z',
      datacontenttype: 'application/json',
      actor: 'ana',
      requestid: 'r-1',
      prevhash: PREV,
      idempotencykey: 'k',
      commandhash: 'c',
      data: notes.data,
    });
  });

  test('keeps fields that a newer writer adds', () => {
    const { event } = decodeEvent(changed({ traceparent: '00-1' }, { mood: 'sunny' }));
    expect(event?.data).toEqual({ ...notes.data, mood: 'sunny' });
  });

  test.each(['key:installer', 'volume', 'ana\u202e\n'])(
    'keeps an actor that tokens can no longer name: %j',
    (actor) => {
      expect(decodeEvent(encodeEvent({ ...notes, actor }, PREV)).event?.actor).toBe(actor);
    },
  );
});

describe('an undecodable body', () => {
  const bodies: Record<string, Buffer> = {
    empty: Buffer.alloc(0),
    'not UTF-8': Buffer.concat([Buffer.from('{"id":"'), Buffer.from([0xff, 0xfe]), Buffer.from('"}')]),
    'truncated UTF-8': encodeEvent({ ...notes, actor: 'ü' }, PREV).subarray(0, -1),
    'not JSON': Buffer.from('hello'),
    null: Buffer.from('null'),
    'a number': Buffer.from('7'),
    'an array': Buffer.from(`[${encodeEvent(notes, PREV)}]`),
    'an object without fields': Buffer.from('{}'),
    'of an unknown type': changed({ type: 'signalbox.version.exploded.v1' }),
    'of a type of another application': changed({ type: 'com.example.notes.changed.v1' }),
    'of a type without a version': changed({ type: 'signalbox.notes.changed' }),
    'of version 0 of its type': changed({ type: 'signalbox.notes.changed.v0' }),
    'of a type named like a property of every object': changed({ type: 'signalbox.constructor.v1' }),
    'of a newer version of its type': changed({ type: 'signalbox.notes.changed.v2' }),
    'of another CloudEvents version': changed({ specversion: '2.0' }),
    'with an invalid time': changed({ time: 'yesterday' }),
    'with a time in another zone': changed({ time: '2026-03-03T14:05:00+02:00' }),
    'with a prevhash that is not a string': changed({ prevhash: 7 }),
    'with data of the wrong type': changed({}, { version: 1 }),
    'with data that is an array': changed({ data: [] }),
    'with an ignorable that is not a boolean': changed({ type: 'signalbox.version.exploded.v1', ignorable: 'yes' }),
    'nested deeper than any stack': nested(50_000),
  };
  for (const field of [
    'specversion',
    'id',
    'source',
    'type',
    'subject',
    'time',
    'data',
    'actor',
    'requestid',
    'prevhash',
  ])
    bodies[`without ${field}`] = changed({ [field]: undefined });

  test.each(Object.entries(bodies))('%s', (_, bytes) => {
    expect(() => decodeEvent(bytes)).toThrow(Undecodable);
  });

  test('causes no other error', () => {
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array(), fc.json().map(Buffer.from), corrupted), (bytes) => {
        try {
          decodeEvent(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(Undecodable);
        }
      }),
      { numRuns: 500 },
    );
  });
});

describe('an unknown event', () => {
  test.each(['signalbox.version.exploded.v1', 'signalbox.notes.changed.v2', 'com.example.other'])(
    'of type %s is skipped if it is marked ignorable',
    (type) => {
      const { active } = notes.data;
      expect(decodeEvent(changed({ type, ignorable: true }))).toEqual({ event: null, prevhash: PREV, active });
    },
  );

  test('must have a prevhash to be skipped', () => {
    const bytes = changed({ type: 'signalbox.version.exploded.v1', ignorable: true, prevhash: undefined });
    expect(() => decodeEvent(bytes)).toThrow(Undecodable);
  });

  test('a known event is read even if it is marked ignorable', () => {
    expect(decodeEvent(changed({ ignorable: true })).event).toEqual({ ...notes, ignorable: true });
    expect(decodeEvent(changed({ ignorable: false })).event).toEqual(notes);
  });
});

describe('upcasting', () => {
  const table: Upcasters = {
    'notes.changed': {
      1: ({ note, ...data }) => ({ ...data, notes: note }),
      2: ({ notes, ...data }) => ({ ...data, notes: { text: notes } }),
    },
  };

  test('takes every step from the stored version to the current one', () => {
    expect(upcast('notes.changed', 1, { note: 'n' }, table)).toEqual({ notes: { text: 'n' } });
    expect(upcast('notes.changed', 2, { notes: 'n' }, table)).toEqual({ notes: { text: 'n' } });
  });

  test('does not change data of the current version or of other types', () => {
    expect(upcast('notes.changed', 3, { notes: 'n' }, table)).toEqual({ notes: 'n' });
    expect(upcast('version.archived', 1, { version: '1.0.0' }, table)).toEqual({ version: '1.0.0' });
  });
});

const notes = {
  type: 'notes.changed',
  model: 'fraud',
  id: 'e-1',
  time: '2026-03-03T14:05:00Z',
  actor: 'ana',
  request_id: 'r-1',
  data: { version: '1.0.0', notes: 'a note', active: { production: null } },
  idempotency: { key: 'k', command_hash: 'c' },
} satisfies RegistryEvent;

/** The notes event with other fields; undefined removes one. */
function changed(envelope: object, data: object = {}): Buffer {
  const plain = JSON.parse(encodeEvent(notes, PREV).toString());
  return Buffer.from(JSON.stringify({ ...plain, data: { ...plain.data, ...data }, ...envelope }));
}

/** A published event whose signature is nested deeper than any stack. */
function nested(depth: number): Buffer {
  const digest = `sha256:${'0'.repeat(64)}`;
  const manifest = { artifacts: [{ path: 'a', digest, size: 0 }], signature: 'HERE' };
  const data = { version: '1.0.0', manifest, manifest_digest: digest, notes: '', active: {} };
  const text = changed({ type: 'signalbox.version.published.v1', data }).toString();
  return Buffer.from(text.replace('"HERE"', '['.repeat(depth) + ']'.repeat(depth)));
}

const hashes = fc.stringMatching(/^[0-9a-f]{64}$/);
const digests = hashes.map((hex) => `sha256:${hex}` as const);
const word = fc.string({ unit: 'grapheme' }).filter((text) => text !== '__proto__');
const reason = fc.option(word);
const active = fc.dictionary(
  fc.stringMatching(/^[a-z][a-z0-9_-]{0,9}$/),
  fc.option(
    fc.record(
      { version: word, manifest_digest: digests, published_revision: fc.nat(), revision: fc.nat() },
      { requiredKeys: ['version', 'manifest_digest', 'published_revision'] },
    ),
  ),
);
const artifact = fc.record({
  path: fc.stringMatching(/^[a-z]{1,8}$/),
  digest: digests,
  size: fc.maxSafeNat(),
});
const manifest = fc.record({
  flavor: fc.string({ minLength: 1, maxLength: 9 }),
  artifacts: fc.uniqueArray(artifact, { minLength: 1, selector: ({ path }) => path }),
  requires: fc.constantFrom({}, { python: '~=3.11.0' }, { packages: { 'scikit-learn': '~=1.5.1' } }),
  metrics: fc.dictionary(word, fc.double({ noNaN: true, noDefaultInfinity: true }).map(positiveZero)),
  params: fc.dictionary(word, fc.oneof(word, fc.boolean(), fc.constant(null))),
  tags: fc.dictionary(word, word),
  lineage: fc.dictionary(word, fc.array(word)),
  signature: fc.option(fc.record({ inputs: fc.array(word) })),
});
const move = { environment: word, previous: reason, reason, active };
const data: Record<EventType, fc.Arbitrary<object>> = {
  'version.published': fc.record({ version: word, manifest, manifest_digest: digests, notes: word, active }),
  'version.activated': fc.record({ ...move, version: word, runtime_checked: fc.boolean() }),
  'version.rolled_back': fc.record({
    ...move,
    version: reason,
    reverts: fc.array(fc.nat(), { minLength: 1 }),
    runtime_checked: fc.boolean(),
  }),
  'version.deactivated': fc.record({ ...move, version: fc.constant(null) }),
  'version.archived': fc.record({ version: word, reason, active }),
  'version.restored': fc.record({ version: word, reason, active }),
  'notes.changed': fc.record({ version: word, notes: word, active }),
  'runtime.declared': fc.record({ environment: word, runtime: fc.constant({ python: '3.11.7' }), active }),
};
const events = fc.constantFrom(...EVENT_TYPES).chain((type) =>
  fc.record(
    {
      type: fc.constant(type),
      model: word,
      id: fc.uuid(),
      time: fc.date({ noInvalidDate: true, min: new Date(0), max: new Date('9999-12-31') }).map((d) => d.toISOString()),
      actor: word,
      request_id: word,
      data: data[type],
      idempotency: fc.record({ key: word, command_hash: hashes }),
      ignorable: fc.constant(true),
    },
    { requiredKeys: ['type', 'model', 'id', 'time', 'actor', 'request_id', 'data'] },
  ),
) as fc.Arbitrary<RegistryEvent>;

/** JSON has no negative zero. */
function positiveZero(n: number): number {
  return n + 0;
}

/** A valid body with one byte changed. */
const corrupted = fc.tuple(fc.nat(), fc.nat(255)).map(([at, byte]) => {
  const bytes = encodeEvent(notes, PREV);
  bytes[at % bytes.length] = byte;
  return bytes;
});
