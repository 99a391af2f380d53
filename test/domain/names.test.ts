import { expect, test } from 'vitest';
import { EnvironmentName, isModelName, ModelName } from '../../src/domain/names.ts';

test.each(['default', 'a', '0', 'fraud-v2', 'fraud_eu', 'constructor', 'a'.repeat(63)])('%s is valid', (name) => {
  expect(isModelName(name)).toBe(true);
  expect(ModelName.safeParse(name).success).toBe(true);
  expect(EnvironmentName.safeParse(name).success).toBe(true);
});

test.each([
  ...['', 'Fraud', '-a', '_a', '__proto__', 'a.b', 'a b', 'a*', 'a>', '>', '*', 'a/b', '..', 'a\n', 'é', 'a\u0000'],
  ...['\ud800', 'a'.repeat(64)],
])('%j is not valid', (name) => {
  expect(isModelName(name)).toBe(false);
  expect(ModelName.safeParse(name).success).toBe(false);
  expect(EnvironmentName.safeParse(name).success).toBe(false);
});
