import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  activationLimitOf,
  allows,
  DEFAULT_POLICY,
  type Identity,
  readPolicy,
  writeLimitOf,
} from '../../src/access/policy.ts';
import { EVERY_MODEL, PERMISSIONS, Reach } from '../../src/domain/permissions.ts';
import { temporaryFolder } from '../support/folder.ts';

const ana: Identity = { actor: 'ana', role: 'scientist', groups: ['risk', 'everyone'] };

async function policyOf(text: string) {
  const path = join(await temporaryFolder(), 'policy.yaml');
  await writeFile(path, text);
  return readPolicy(path);
}

describe('the default policy', () => {
  it('lets admins do everything and users read', () => {
    for (const permission of PERMISSIONS) {
      const wanted = { permission, model: 'fraud', environment: 'production' };
      expect(allows(DEFAULT_POLICY, { ...ana, role: 'admin' }, wanted)).toBe(true);
      expect(allows(DEFAULT_POLICY, { ...ana, role: 'user' }, wanted)).toBe(permission === 'read');
      expect(allows(DEFAULT_POLICY, { ...ana, role: null }, wanted)).toBe(false);
      expect(allows(DEFAULT_POLICY, ana, wanted)).toBe(false);
    }
  });
});

describe('a policy', () => {
  it('grants permissions for its models and environments only', async () => {
    const policy = await policyOf(`
grants:
  - { allow: [activate], group: risk, models: [fraud-*], environments: [staging] }
  - { allow: [read], group: everyone, models: [fraud-*, churn] }
`);
    const may = (wanted: Parameters<typeof allows>[2]) => allows(policy, ana, wanted);
    expect(may({ permission: 'activate', model: 'fraud-eu', environment: 'staging' })).toBe(true);
    expect(may({ permission: 'activate', model: 'fraud-eu', environment: 'production' })).toBe(false);
    expect(may({ permission: 'activate', model: 'churn', environment: 'staging' })).toBe(false);
    expect(may({ permission: 'read', model: 'churn' })).toBe(true);
    expect(may({ permission: 'read', model: 'churn-2' })).toBe(false);
    expect(may({ permission: 'read', model: 'not-fraud-eu' })).toBe(false);
    expect(may({ permission: 'read', model: EVERY_MODEL })).toBe(false);
    expect(may({ permission: 'publish' })).toBe(false);
  });

  it('applies a grant to callers that match all of its role, group and subject', async () => {
    const policy = await policyOf('grants: [{ allow: all, role: scientist, group: risk, subject: ana }]');
    const wanted = { permission: 'operate' as const };
    expect(allows(policy, ana, wanted)).toBe(true);
    for (const other of [{ role: 'user' }, { groups: [] }, { actor: 'ben' }]) {
      expect(allows(policy, { ...ana, ...other }, wanted)).toBe(false);
    }
  });

  it('can restrict production to a group', async () => {
    const policy = await policyOf(`
grants:
  - { allow: [read, activate], role: scientist, environments: [staging, dev] }
  - { allow: all, group: release-managers }
`);
    const production = { permission: 'activate' as const, model: 'fraud', environment: 'production' };
    expect(allows(policy, ana, production)).toBe(false);
    expect(allows(policy, { ...ana, groups: ['release-managers'] }, production)).toBe(true);
  });

  it('that is invalid is refused with the place of the error', async () => {
    for (const [text, message] of [
      ['grants: [{ allow: [fly], role: user }]', 'grants'],
      ['grants: [{ allow: [read] }]', 'must name a role, a group or a subject'],
      ['grants: [{ allow: [], role: user }]', 'grants'],
      ['grants: [{ allow: [read], role: user, models: ["Fraud(.*"] }]', 'must be a model name'],
      ['grants: [{ allow: [read], role: user, environment: [dev] }]', 'environment'],
      ['- 1', 'policy.yaml'],
      ['', 'policy.yaml'],
    ] as const) {
      await expect(policyOf(text), text).rejects.toThrow(message);
    }
    await expect(readPolicy('/nowhere/policy.yaml')).rejects.toThrow('/nowhere/policy.yaml cannot be read');
  });

  it('matches names like a shell', () => {
    const letters = (...all: string[]) => fc.array(fc.constantFrom(...all), { maxLength: 8 });
    const pattern = letters('a', 'b', '-', '*', '*').filter(({ length }) => length > 0);
    fc.assert(
      fc.property(pattern, letters('a', 'b', '-'), (pattern, name) => {
        expect(mayRead(pattern.join(''), name.join(''))).toBe(globs(pattern, name));
      }),
      { numRuns: 3_000 },
    );
  });

  it('matches patterns with many stars fast', () => {
    // An equivalent regular expression takes longer than the time-out of the test.
    expect(mayRead(`${'*a'.repeat(31)}*b`, 'a'.repeat(63))).toBe(false);
    expect(mayRead(`${'*a'.repeat(31)}*b`, `${'a'.repeat(62)}b`)).toBe(true);
  });
});

function mayRead(pattern: string, model: string): boolean {
  const reach = Reach.parse({ allow: ['read'], models: [pattern] });
  return allows({ grants: [], limits: [] }, { ...ana, reaches: [reach] }, { permission: 'read', model });
}

/** A reference implementation with backtracking: a star matches nothing, or one letter and again a star. */
function globs([first, ...pattern]: string[], name: string[]): boolean {
  if (first === undefined) return name.length === 0;
  if (first === '*') return globs(pattern, name) || (name.length > 0 && globs(['*', ...pattern], name.slice(1)));
  return name[0] === first && globs(pattern, name.slice(1));
}

describe('limits', () => {
  it('each come from the first entry that matches and sets the limit', async () => {
    const policy = await policyOf(`
grants: []
limits:
  - { models: [fraud-eu], commands_per_minute: 10 }
  - { models: [fraud-*], environments: [production], activations_per_minute: 1 }
  - { models: [fraud-*], activations_per_minute: 0, commands_per_minute: 20, bytes_per_minute: 1048576 }
`);
    expect(writeLimitOf(policy, 'fraud-eu')).toEqual({ commands: 10, bytes: 1048576 });
    expect(writeLimitOf(policy, 'fraud-us')).toEqual({ commands: 20, bytes: 1048576 });
    expect(writeLimitOf(policy, 'churn')).toEqual({ commands: null, bytes: null });
    expect(activationLimitOf(policy, 'fraud-eu', 'production')).toBe(1);
    expect(activationLimitOf(policy, 'fraud-eu', 'dev')).toBe(0);
    expect(activationLimitOf(policy, 'churn', 'production')).toBe(null);
  });

  it.each([
    ['{ models: [a] }', 'must set a limit'],
    ['{ models: [a], bytes_per_minute: 1000 }', 'bytes_per_minute'],
    ['{ models: [a], environments: [dev], commands_per_minute: 5 }', 'leave environments out'],
    ['{ models: [a], commands_per_minute: -1 }', 'commands_per_minute'],
  ])('refuses %s', async (line, why) => {
    await expect(policyOf(`grants: []\nlimits: [${line}]`)).rejects.toThrow(why);
  });
});
