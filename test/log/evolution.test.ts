import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { replayLog } from '../../src/audit/replay.ts';
import { EVENT_TYPES, EVENT_VERSIONS, eventData, type RegistryEvent } from '../../src/domain/events.ts';
import { createCodec, decodeEvent, encodeEvent, Undecodable } from '../../src/log/codec.ts';
import { subjectOf } from '../../src/log/stream.ts';
import { upcasters } from '../../src/log/upcast.ts';
import { sourceOf } from '../support/logbook.ts';
import { newReadModel } from '../support/read-model.ts';
import { readV1 } from './fixtures/reader-v1.ts';
import { alteredBody, recorded, recordedHistory } from './recorded.ts';

const written = EVENT_TYPES.flatMap((type) =>
  Array.from({ length: EVENT_VERSIONS[type] }, (_, i) => [`${type}.v${i + 1}`, type, i + 1] as const),
);
const currentOnes = written.filter(([, type, version]) => version === EVENT_VERSIONS[type]);
const ofVersion1 = written.filter(([, , version]) => version === 1);

describe('recorded bodies', () => {
  test('exist for every version of every type, and form one history', () => {
    expect([...recorded.keys()].toSorted()).toEqual(written.map(([spelling]) => spelling).toSorted());
    expect(recordedHistory()).toHaveLength(recorded.size);
  });

  test.each(written)('%s is decoded', (spelling, type) => {
    expect(decodeEvent(recorded.get(spelling)!).event).toMatchObject({ type, model: 'fraud' });
  });

  test.each(currentOnes)('%s is written today as it was recorded', (spelling) => {
    const { event, prevhash } = decodeEvent(recorded.get(spelling)!);
    const again = encodeEvent(event!, prevhash);
    expect(JSON.parse(again.toString())).toEqual(JSON.parse(recorded.get(spelling)!.toString()));
  });

  test('an event is written in the oldest version that has its fields, which older servers read', () => {
    const { event, prevhash } = decodeEvent(recorded.get('version.published.v1')!);
    const again = encodeEvent(event!, prevhash);
    expect(JSON.parse(again.toString())).toEqual(JSON.parse(recorded.get('version.published.v1')!.toString()));
  });

  test('are followed to their end by the read model and by the audit', async () => {
    const readModel = newReadModel();
    const messages = recordedHistory().map((body, i) => {
      readModel.fold({ revision: i + 1, model: 'fraud', body });
      return { revision: i + 1, subject: subjectOf('fraud'), stored_at: new Date(0), body };
    });
    expect([readModel.frozen('fraud'), readModel.model('fraud').revision]).toEqual([null, recorded.size]);
    const replay = await replayLog(sourceOf(messages));
    expect([replay.findings, replay.events]).toEqual([[], recorded.size]);
  });

  test('of an older version have a step to the next one', () => {
    const older = written.filter(([, type, version]) => version < EVENT_VERSIONS[type]);
    expect(older.filter(([, type, version]) => !upcasters[type]?.[version])).toEqual([]);
  });
});

/** As a later Signalbox could be: notes have an author and a text of their own, and a version can be praised. */
const later = createCodec({
  versions: { ...EVENT_VERSIONS, 'notes.changed': 2, 'version.praised': 1 },
  shapes: {
    ...eventData,
    'notes.changed': z.looseObject({ version: z.string(), notes: z.looseObject({ text: z.string() }) }),
    'version.praised': z.looseObject({ version: z.string() }),
  },
  upcasters: { 'notes.changed': { 1: ({ notes, ...data }) => ({ ...data, notes: { text: notes } }) } },
});

const known = decodeEvent(recorded.get('notes.changed.v1')!).event!;
const { active } = known.data;
const praise = { ...known, type: 'version.praised', data: { version: '1.0.0', active } } as unknown as RegistryEvent;
const changed = { ...known, data: { version: '1.0.0', notes: { text: 'n' }, active } } as unknown as RegistryEvent;
const PREV = 'ab'.repeat(32);

describe('a newer reader', () => {
  test('reads the older version of a type in the shape of the new one', () => {
    const { event } = later.decode(recorded.get('notes.changed.v1')!);
    expect(event?.data).toEqual({ ...known.data, notes: { text: 'recall dropped on the new traffic' } });
  });

  test('reads what it writes: the new version and the new type', () => {
    for (const event of [changed, praise, { ...praise, ignorable: true } as RegistryEvent]) {
      expect(later.decode(later.encode(event, PREV))).toEqual({ event, prevhash: PREV });
    }
  });

  test.each(ofVersion1.filter(([, type]) => type !== 'notes.changed'))('reads %s as before', (spelling) => {
    expect(later.decode(recorded.get(spelling)!)).toEqual(decodeEvent(recorded.get(spelling)!));
  });

  test.each([null, 7, [], {}, { notes: 7 }])('refuses data of the older version with another shape: %j', (data) => {
    const { data: _, ...rest } = JSON.parse(recorded.get('notes.changed.v1')!.toString());
    expect(() => later.decode(Buffer.from(JSON.stringify({ ...rest, data })))).toThrow(Undecodable);
  });

  test('refuses data that the step to the next version cannot take', () => {
    const strict = createCodec({
      versions: { 'notes.changed': 2 },
      shapes: { 'notes.changed': z.looseObject({}) },
      upcasters: { 'notes.changed': { 1: (data) => ({ ...data, notes: (data.notes as string).trim() }) } },
    });
    expect(() => strict.decode(alteredBody('notes.changed.v1', {}, { notes: 7 }))).toThrow(Undecodable);
  });
});

describe('an older reader', () => {
  test.each(ofVersion1)('reads %s as this version does', (spelling, type) => {
    expect(readV1(recorded.get(spelling)!)).toEqual({ type, data: decodeEvent(recorded.get(spelling)!).event?.data });
  });

  test.each(ofVersion1)('reads %s with an optional field that was added later', (spelling, type) => {
    const body = alteredBody(spelling, { traceparent: '00-1' }, { ticket: 'OPS-7' });
    expect(readV1(body)).toMatchObject({ type, data: { ticket: 'OPS-7' } });
    expect(decodeEvent(body).event?.data).toEqual((readV1(body) as { data: object }).data);
  });

  test('stops at a type that was added later', () => {
    expect(readV1(later.encode(praise, PREV))).toBe('unreadable');
  });

  test('stops at a version that was added later', () => {
    expect(readV1(later.encode(changed, PREV))).toBe('unreadable');
  });

  test.each([
    ['type', praise],
    ['version', changed],
  ])('skips a %s that was added later if it is ignorable', (_, event) => {
    expect(readV1(later.encode({ ...event, ignorable: true } as RegistryEvent, PREV))).toBe('skipped');
  });

  test('reads a known type and version also if it is ignorable', () => {
    expect(readV1(encodeEvent({ ...known, ignorable: true }, PREV))).toMatchObject({ type: 'notes.changed' });
  });

  // Hence none of these can be added without a new version.
  test.each([
    ['the manifest', 'version.published.v1', { manifest: { ...published().manifest, license: 'MIT' } }],
    ['the runtime', 'runtime.declared.v1', { runtime: { cuda: '12.4' } }],
    ['the values of overridden', 'version.rolled_back.v1', { overridden: ['probation'] }],
  ])('stops at an addition to %s', (_, spelling, data) => {
    expect(readV1(alteredBody(spelling, {}, data))).toBe('unreadable');
  });
});

/** What this version does with the same bodies is what the next one's older reader does. */
describe('this reader', () => {
  test.each([
    ['type', praise],
    ['version', changed],
  ])('stops at a later %s, and skips it if it is ignorable', (_, event) => {
    expect(() => decodeEvent(later.encode(event, PREV))).toThrow(Undecodable);
    const ignorable = { ...event, ignorable: true } as RegistryEvent;
    const { active } = event.data;
    expect(decodeEvent(later.encode(ignorable, PREV))).toEqual({ event: null, prevhash: PREV, active });
  });
});

function published() {
  return JSON.parse(recorded.get('version.published.v1')!.toString()).data;
}
