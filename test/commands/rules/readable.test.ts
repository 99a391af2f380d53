import { expect, test } from 'vitest';
import { checkReadable } from '../../../src/commands/rules/readable.ts';
import { Problem } from '../../../src/domain/errors.ts';
import type { ServerAnnouncement } from '../../../src/log/servers.ts';

const old: ServerAnnouncement = {
  server: '0b9f',
  version: '0.1.0',
  address: 'http://10.0.0.7:3000',
  host: 'registry-1',
  pid: 4711,
  started_at: '2026-03-03T14:05:00Z',
  reads: { 'notes.changed': 1 },
};

test('allows an event that every live server can read', () => {
  expect(() => checkReadable({ type: 'notes.changed' }, 2, null)).not.toThrow();
});

test('allows an ignorable event whether or not a live server can read it', () => {
  expect(() => checkReadable({ type: 'notes.changed', ignorable: true }, 2, old)).not.toThrow();
});

test('refuses an event that a live server cannot read, with the server and what to do', () => {
  const refused = problemOf(() => checkReadable({ type: 'notes.changed' }, 2, old));
  expect(refused).toMatchObject({ code: 'upgrade-pending', status: 409 });
  expect(refused.fields).toEqual({
    server: '0b9f',
    address: 'http://10.0.0.7:3000',
    version: '0.1.0',
    reads: { 'notes.changed': 1 },
  });
  expect(refused.message).toBe(
    'The server at http://10.0.0.7:3000 (host registry-1) runs Signalbox 0.1.0 and cannot read the event ' +
      'notes.changed in version 2. Upgrade or stop that server, then repeat the command.',
  );
});

function problemOf(act: () => void): Problem {
  try {
    act();
  } catch (error) {
    if (error instanceof Problem) return error;
    throw error;
  }
  throw new Error('nothing was refused');
}
