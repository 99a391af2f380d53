import { expect, test } from 'vitest';
import { clause } from '../../src/domain/clause.ts';

test.each([
  ['There is no model fraud.', 'There is no model fraud'],
  ['connect ECONNREFUSED 127.0.0.1:4222', 'connect ECONNREFUSED 127.0.0.1:4222'],
  ['It ended.\n', 'It ended'],
  ['', ''],
])('%j as a part of a sentence has no full stop', (message, part) => {
  expect(clause(message)).toBe(part);
});
