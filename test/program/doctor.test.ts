import { existsSync } from 'node:fs';
import { chmod, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { StreamConfig } from '@nats-io/jetstream';
import { describe, expect, it, onTestFinished } from 'vitest';
import { secretFile } from '../../src/access/secret.ts';
import { signToken } from '../../src/access/tokens.ts';
import { STREAM, streamInfo } from '../../src/log/stream.ts';
import type { Check } from '../../src/setup/check.ts';
import { temporaryFolder } from '../support/folder.ts';
import { serveText } from '../support/http.ts';
import { errorOf, reportOf } from '../support/loaders.ts';
import { connected, fakeServer, freePort, startNats, startPlainNats } from '../support/nats.ts';
import { cliWith, type Program, startProgram } from '../support/program.ts';
import { emptyProgram, publish, shared, stored, until, volumeFolder } from './support.ts';

const program = shared((ends) => emptyProgram(ends));

interface Found {
  code: number;
  checks: Check[];
  /** Names of the checks with this status. */
  wrong: string[];
  warnings: string[];
}

async function doctor(variables: Record<string, string>): Promise<Found> {
  const { code, stdout } = await cliWith(variables, 'doctor', '--json');
  const { healthy, checks } = JSON.parse(stdout) as { healthy: boolean; checks: Check[] };
  expect(healthy).toBe(code === 0);
  const named = (status: Check['status']) => checks.filter((check) => check.status === status).map(({ name }) => name);
  return { code, checks, wrong: named('wrong'), warnings: named('warning') };
}

const at = ({ url, volume }: Program) => ({ REGISTRY_DSN: url, REGISTRY_VOLUME: volume });
const detail = ({ checks }: Found, name: string) => checks.find((check) => check.name === name)?.detail;

/** Starts a registry on its own NATS. */
async function onNats() {
  const nats = await startNats(process.env.NATS_SERVER_BIN!);
  const program = await startProgram(await volumeFolder(), { NATS_URL: nats.url, REGISTRY_DISCOVERY: 'off' });
  return { nats, program, variables: { ...at(program), NATS_URL: nats.url } };
}

describe('doctor', { timeout: 60_000 }, () => {
  it('finds no problem in a healthy installation, and changes nothing', async () => {
    const before = [await stored(program()), (await readdir(program().volume)).sort()];
    const found = await doctor(at(program()));
    expect(found).toMatchObject({ code: 0, wrong: [], warnings: [] });
    expect(detail(found, 'token')).toMatch(/may read, publish, .*keys/);
    expect([await stored(program()), (await readdir(program().volume)).sort()]).toEqual(before);
    const { code, stdout } = await cliWith(at(program()), 'doctor');
    expect([code, stdout]).toEqual([0, expect.stringMatching(/^✓ node: Node /)]);
    expect(stdout).not.toMatch(/^[✗!]/m);
  });

  it('names a frozen model', async () => {
    const { nats, program, variables } = await onNats();
    await (await connected(nats)).js.publish('registry.models.fraud', 'nonsense');
    await until(async () => (await (await program.ask('GET', '/readyz')).text()).includes('fraud'));
    const found = await doctor(variables);
    expect(found).toMatchObject({ code: 1, wrong: ['frozen'] });
    expect(detail(found, 'frozen')).toMatch(/fraud at revision 1/);
    // Without a token that may read every model.
    const counted = await doctor({ ...variables, REGISTRY_VOLUME: '/nowhere', NATS_URL: nats.url });
    expect(counted.wrong).toContain('readiness');
    expect(detail(counted, 'readiness')).toContain('1 under frozen');
  });

  it('reports that NATS has stopped while the registry still answers', async () => {
    const { nats, program, variables } = await onNats();
    await nats.kill();
    await until(async () => (await fetch(`${program.url}/readyz?for=writes`)).status === 503);
    expect(await doctor(variables)).toMatchObject({ code: 1, wrong: ['nats', 'log'] });
  });

  it('reports a registry that is not running, and skips the token', async () => {
    const REGISTRY_DSN = `http://127.0.0.1:${await freePort()}`;
    const found = await doctor({ REGISTRY_DSN, REGISTRY_VOLUME: program().volume });
    expect(found).toMatchObject({ code: 1, wrong: ['registry'] });
    expect(found.checks.at(-1)).toMatchObject({ name: 'token', status: 'skipped' });
  });

  it('reports a server that is not a registry', async () => {
    const REGISTRY_DSN = await serveText('<html>');
    const found = await doctor({ REGISTRY_DSN, REGISTRY_VOLUME: program().volume });
    expect(found).toMatchObject({ code: 1, wrong: ['registry'] });
    expect(detail(found, 'registry')).toContain('not as a registry does');
  });

  it('reports an invalid or expired token, and the permissions of a valid one', async () => {
    const wrong = await doctor({ ...at(program()), REGISTRY_TOKEN: 'x.y.z' });
    expect([wrong.code, wrong.wrong, detail(wrong, 'token')]).toEqual([1, ['token'], 'The token is not valid.']);
    const secret = Buffer.from('a'.repeat(32));
    const signed = await emptyProgram(onTestFinished, { REGISTRY_JWT_SECRET: secret.toString() });
    const REGISTRY_TOKEN = await signToken(secret, { actor: 'ana', role: 'admin' }, -60, new Date());
    const expired = await doctor({ ...at(signed), REGISTRY_TOKEN });
    expect((await doctor({ ...at(signed), REGISTRY_SIGNING_KEY: 'none' })).wrong).toEqual(['token']);
    expect([expired.code, expired.wrong, detail(expired, 'token')]).toEqual([1, ['token'], 'The token has expired.']);
    const user = await doctor({ ...at(signed), REGISTRY_TOKEN: await signed.token('user', 'ana') });
    expect([user.code, detail(user, 'token')]).toEqual([0, 'ana may read']);
    const none = await doctor(at(signed));
    expect([none.code, none.checks.at(-1)]).toMatchObject([0, { name: 'token', status: 'skipped' }]);
  });

  it('names loaders that have failed or are stale', async () => {
    const { program, variables } = await onNats();
    await publish(program, '1.0.0');
    const report = (instance: string, report: object) =>
      program.ask('PUT', `/api/models/default/loaders/${instance}`, report);
    await report('slow', reportOf({ state: 'ready', stale: true }));
    const stale = await doctor(variables);
    expect([stale.code, stale.warnings, detail(stale, 'loaders')]).toEqual([
      0,
      ['loaders'],
      expect.stringContaining('slow of default'),
    ]);
    await report('broken', reportOf({ state: 'failed', error: errorOf('golden-mismatch', 'golden request 3') }));
    const failed = await doctor(variables);
    expect([failed.code, failed.wrong, detail(failed, 'loaders')]).toEqual([
      1,
      ['loaders'],
      expect.stringContaining('broken of default (golden request 3)'),
    ]);
  });

  it('reports that other users can read the secret', async () => {
    const own = await emptyProgram(onTestFinished);
    await chmod(secretFile(own.volume), 0o644);
    const found = await doctor(at(own));
    expect(found).toMatchObject({ code: 1, wrong: ['secret file'] });
    expect(found.checks.find(({ name }) => name === 'secret file')?.remedy).toBe(`chmod 600 ${secretFile(own.volume)}`);
  });

  it.each([
    ['grants: nonsense', 'wrong'],
    ['grants: [', 'wrong'],
    ['grants: [{ role: admin, allow: [read] }]', 'warning'],
    ['grants: [{ role: admin, allow: all }]', 'ok'],
  ])('reads a policy: %s is %s', async (text, status) => {
    const REGISTRY_POLICY = join(await temporaryFolder(), 'policy.yaml');
    await writeFile(REGISTRY_POLICY, text);
    const { checks } = await doctor({ ...at(program()), REGISTRY_POLICY });
    expect(checks.find(({ name }) => name === 'policy')?.status).toBe(status);
    await rm(REGISTRY_POLICY);
    expect((await doctor({ ...at(program()), REGISTRY_POLICY })).wrong).toEqual(['policy']);
  });

  it('reports unsafe settings of the stream, and does not change them', async () => {
    const server = await startNats(process.env.NATS_SERVER_BIN!);
    const { jsm } = await connected(server);
    const dangerous = { name: STREAM, subjects: ['registry.models.*'], max_age: 3600 * 1e9 };
    const { config } = await jsm.streams.add(dangerous as Partial<StreamConfig> & { name: string });
    const found = await doctor({ ...at(program()), NATS_URL: server.url });
    expect(found).toMatchObject({ code: 1, wrong: ['stream'] });
    expect(detail(found, 'stream')).toContain('max_age must be 0');
    expect((await streamInfo(jsm))!.config).toEqual(config);
  });

  it('creates neither stream nor volume', async () => {
    const server = await startNats(process.env.NATS_SERVER_BIN!);
    const REGISTRY_VOLUME = join(await temporaryFolder(), 'volume');
    const found = await doctor({ REGISTRY_DSN: program().url, REGISTRY_VOLUME, NATS_URL: server.url });
    expect(found).toMatchObject({ code: 0, warnings: ['volume'] });
    expect(found.checks.find(({ name }) => name === 'stream')?.status).toBe('skipped');
    expect(existsSync(REGISTRY_VOLUME)).toBe(false);
    const { jsm } = await connected(server);
    expect((await jsm.getAccountInfo()).streams).toBe(0);
  });

  it('reports a volume that is a file', async () => {
    const REGISTRY_VOLUME = join(await temporaryFolder(), 'file');
    await writeFile(REGISTRY_VOLUME, '');
    expect(await doctor({ REGISTRY_DSN: program().url, REGISTRY_VOLUME })).toMatchObject({
      code: 1,
      wrong: ['volume'],
    });
  });

  it.each([
    ['a server version that is too old', 'nats', () => fakeServer('2.9.25')],
    ['a server without JetStream', 'jetstream', async () => (await startPlainNats(process.env.NATS_SERVER_BIN!)).url],
    ['an invalid address', 'nats', async () => 'localhost:4222'],
  ])('reports of NATS: %s', async (_what, name, url) => {
    expect(await doctor({ ...at(program()), NATS_URL: await url() })).toMatchObject({ code: 1, wrong: [name] });
  });

  it('names an invalid variable, and runs the other checks', async () => {
    const found = await doctor({ ...at(program()), PORT: 'http' });
    expect(found).toMatchObject({ code: 1, wrong: ['variables of the server'] });
    expect(detail(found, 'variables of the server')).toContain('PORT: ');
    expect(found.checks.at(-1)).toMatchObject({ name: 'loaders', status: 'ok' });
    expect((await doctor({ ...at(program()), REGISTRY_DSN: 'models' })).wrong).toEqual([
      'variables of the command line',
    ]);
  });

  it.each([
    ['a secret that is too short', { REGISTRY_JWT_SECRET: 'short' }, ['secret']],
    ['no way to sign in beyond this machine', { HOST: '0.0.0.0' }, ['secret']],
    ['a provider without an issuer', { REGISTRY_JWKS_URL: 'http://127.0.0.1:1/jwks' }, ['identity provider']],
    ['a public URL that does not answer', { REGISTRY_PUBLIC_URL: 'http://127.0.0.1:1' }, ['public URL']],
  ])('reports of the configuration: %s', async (_what, variables: Record<string, string>, wrong) => {
    const REGISTRY_TOKEN = await program().token();
    expect(await doctor({ ...at(program()), REGISTRY_TOKEN, ...variables })).toMatchObject({ code: 1, wrong });
  });

  it('warns of a public URL without TLS', async () => {
    const { warnings } = await doctor({ ...at(program()), REGISTRY_PUBLIC_URL: 'http://models.invalid' });
    expect(warnings).toEqual(['public URL']);
  });
});
