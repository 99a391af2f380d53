import { expect, test } from 'vitest';
import { clause } from '../../src/domain/clause.ts';

test.each([
  ['There is no model fraud.', 'There is no model fraud'],
  ['connect ECONNREFUSED 127.0.0.1:4222', 'connect ECONNREFUSED 127.0.0.1:4222'],
  ['It ended.\n', 'It ended'],
  ['', ''],
])('removes the full stop of %j', (message, part) => {
  expect(clause(message)).toBe(part);
});
