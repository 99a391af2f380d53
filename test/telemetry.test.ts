import { expect, test } from 'vitest';
import { createLogger } from '../src/telemetry.ts';

const SECRET = `S3CRET${'x'.repeat(37)}`;

/** Returns the text of one log line. */
function lineOf(fields: object, message = 'it happened'): string {
  const lines: string[] = [];
  createLogger('info', { write: (line) => void lines.push(line) }).info(fields, message);
  expect(lines).toHaveLength(1);
  JSON.parse(lines[0]!);
  return lines[0]!;
}

const FIELDS = [
  'authorization',
  'Authorization',
  'cookie',
  'set-cookie',
  'x-api-key',
  'token',
  'key',
  'secret',
  'password',
  'pass',
];

test.each(FIELDS)('redacts fields named %s, up to two objects deep', (name) => {
  for (const fields of [
    { [name]: SECRET },
    { headers: { [name]: SECRET } },
    { request: { headers: { [name]: SECRET } } },
  ])
    expect(lineOf(fields)).not.toContain(SECRET);
});

const LOOKS = [
  `nats://registry:${SECRET}@nats:4222`,
  `nats://registry:p@${SECRET}@nats:4222`,
  `nats://${SECRET}@nats:4222`,
  `Bearer ${SECRET}`,
  `Basic ${SECRET}`,
  `sbk_0123456789ab_${SECRET}-_`,
  `sbs_0123456789ab_${SECRET}`,
  `eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0.${SECRET}`,
];

test.each(LOOKS)('redacts %s anywhere in a line', (text) => {
  const error = new Error(`cannot reach ${text}`, { cause: new Error(text) });
  for (const fields of [{ path: `/a/${text}/b` }, { err: error }, { list: [text] }]) {
    const line = lineOf(fields);
    expect(line).not.toContain(SECRET);
    expect(line).toContain('[redacted]');
  }
  expect(lineOf({}, `it says ${text}.`)).not.toContain(SECRET);
});

test('escapes invisible characters without changing the value', () => {
  const actor = 'ana\u202egnp\u009b31m\u2028';
  const line = lineOf({ actor });
  expect(line).toContain('ana\\u202egnp\\u009b31m\\u2028');
  expect(JSON.parse(line)).toMatchObject({ actor });
});

test('keeps text that is not a secret', () => {
  const fields = { path: '/api/keys/0123456789ab', url: 'nats://127.0.0.1:4222', key_id: '0123456789ab', at: 'a@b:c' };
  expect(JSON.parse(lineOf(fields, 'nats://nats:4222 is away'))).toMatchObject({
    ...fields,
    msg: 'nats://nats:4222 is away',
  });
});
