import { describe, expect, test } from 'vitest';
import { readEvent } from '../../../src/audit/rules/event.ts';
import type { Types } from '../../../src/audit/rules/shape.ts';
import { EVENT_TYPES, EVENT_VERSIONS } from '../../../src/domain/events.ts';
import { alteredBody, recorded } from '../../log/recorded.ts';

const unknown = 'Its type or the version of its type is unknown';
const read = (body: Buffer, types?: Types) =>
  readEvent({ revision: 1, subject: 'registry.models.fraud', stored_at: new Date(0), body }, types);

describe('the audit', () => {
  test.each([...recorded])('reads the recorded %s', (spelling, body) => {
    expect(read(body).type).toBe(spelling.replace(/\.v\d+$/, ''));
  });

  test.each(EVENT_TYPES)('reads %s up to the version that the registry writes, and no further', (type) => {
    const next = alteredBody(`${type}.v1`, { type: `signalbox.${type}.v${EVENT_VERSIONS[type] + 1}` });
    expect(() => read(next)).toThrow(unknown);
  });

  test.each(['v0', 'v01', 'v-1', 'v1.0', 'v', 'V1', 'v9999999999999999999999'])('knows no version %s', (version) => {
    const body = alteredBody('notes.changed.v1', { type: `signalbox.notes.changed.${version}` });
    expect(() => read(body)).toThrow(unknown);
  });

  test('knows no type that is named like a property of every object', () => {
    expect(() => read(alteredBody('notes.changed.v1', { type: 'signalbox.constructor.v1' }))).toThrow(unknown);
  });

  test.each(['signalbox.notes.changed.v2', 'signalbox.version.praised.v1', 'com.example.other'])(
    'skips %s if it is marked ignorable',
    (type) => {
      expect(read(alteredBody('notes.changed.v1', { type, ignorable: true }))).toMatchObject({ type: null });
    },
  );

  test('reads a known event even if it is marked ignorable', () => {
    const body = alteredBody('notes.changed.v1', { ignorable: true });
    expect(read(body)).toMatchObject({ type: 'notes.changed', data: { version: '1.0.0' } });
    expect(() => read(alteredBody('notes.changed.v1', { ignorable: true }, { notes: 7 }))).toThrow('data’s notes');
  });

  test('keeps an optional field that it does not know', () => {
    expect(read(alteredBody('notes.changed.v1', {}, { ticket: 'OPS-7' }))).toMatchObject({ data: { ticket: 'OPS-7' } });
  });
});

describe('a type with two versions', () => {
  const text = (value: unknown) => typeof value === 'string';
  const types: Types = {
    shapes: { 'notes.changed': [{ notes: text }, { text, author: (value) => value === null || text(value) }] },
    steps: { 'notes.changed.v1': ({ notes, ...data }) => ({ ...data, text: notes, author: null }) },
  };
  const second = { type: 'signalbox.notes.changed.v2' };

  test('is read in the shape of the newest', () => {
    const { active } = JSON.parse(recorded.get('notes.changed.v1')!.toString()).data;
    const older = { version: '1.0.0', text: 'recall dropped on the new traffic', author: null, active };
    expect(read(recorded.get('notes.changed.v1')!, types)).toMatchObject({ type: 'notes.changed', data: older });
    const newer = alteredBody('notes.changed.v1', second, { text: 't', author: 'ana' });
    expect(read(newer, types)).toMatchObject({ data: { text: 't', author: 'ana' } });
  });

  test('is checked against the version in which it was written', () => {
    expect(() => read(alteredBody('notes.changed.v1', {}, { notes: 7 }), types)).toThrow('data’s notes is wrong');
    expect(() => read(alteredBody('notes.changed.v1', second, { text: 't' }), types)).toThrow('data’s author is wrong');
    expect(() => read(alteredBody('notes.changed.v1', {}, { active: null }), types)).toThrow('data’s active is wrong');
  });
});
