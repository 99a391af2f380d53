import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { jetstream, jetstreamManager, StorageType } from '@nats-io/jetstream';
import { connect, errors } from '@nats-io/transport-node';
import { describe, expect, onTestFinished, test } from 'vitest';
import { parse } from 'yaml';
import { serverVariables } from '../../src/config.ts';
import { shared } from '../program/support.ts';
import { temporaryFolder } from '../support/folder.ts';
import { fromRoot, startConfigured } from './support.ts';

const SERVER_VARIABLES = Object.keys(serverVariables.shape);
const SECRETS = { NATS_PASSWORD: '0123456789', REGISTRY_JWT_SECRET: 'a-secret-for-this-test-and-no-other' };

interface Service {
  image?: string;
  build?: string;
  environment: Record<string, string>;
  volumes: string[];
  ports: string[];
  healthcheck?: { test: string[] };
  depends_on?: Record<string, { condition: string }>;
}

const run = promisify(execFile);
const text = (path: string) => readFileSync(fromRoot(path), 'utf8');
const compose: { services: Record<'nats' | 'registry', Service>; volumes: Record<string, unknown> } = parse(
  text('docker-compose.yml'),
);
const { nats, registry } = compose.services;
const natsConf = text('deploy/nats.conf');
const dockerfile = instructions(text('Dockerfile'));

describe('docker-compose.yml', () => {
  test('gives the registry only variables that the server reads', () => {
    const given = [...Object.keys(registry.environment), ...Object.keys(imageEnvironment())];
    const unread = given.filter((name) => !SERVER_VARIABLES.includes(name));
    expect(unread).toEqual(['NODE_ENV']);
  });

  test.each(Object.keys(SECRETS))('does not start without %s', (name) => {
    const values = [nats, registry].flatMap((service) => Object.values(service.environment));
    const mentions = values.filter((value) => value.includes(`\${${name}`));
    expect(mentions).not.toEqual([]);
    for (const value of mentions) {
      expect(() => substitute(value, { ...SECRETS, [name]: '' })).toThrow(`${name} is missing`);
    }
  });

  test('points the registry at the nats service, with a user that it knows', () => {
    const url = new URL(substitute(registry.environment.NATS_URL!, SECRETS));
    expect(compose.services).toHaveProperty(url.hostname);
    expect(url.port).toBe(setting('port'));
    expect(url.username).toBe(setting('user'));
    expect(url.password).toBe(SECRETS.NATS_PASSWORD);
  });

  test('checks the health of NATS at its configured monitoring port', () => {
    expect(registry.depends_on).toEqual({ nats: { condition: 'service_healthy' } });
    expect(nats.healthcheck?.test.at(-1)).toBe(`http://${setting('http')}/healthz`);
  });

  test('publishes ports on loopback only, each to the port that the program listens on', () => {
    const published = (service: Service) => service.ports.map((port) => substitute(port, {}));
    expect(published(nats)).toEqual([`127.0.0.1:4222:${setting('port')}`]);
    expect(published(registry)).toEqual([`127.0.0.1:8080:${imageEnvironment().PORT}`]);
  });

  test('mounts only paths of the repository and declared volumes', () => {
    const sources = [...nats.volumes, ...registry.volumes].map((mount) => mount.split(':')[0]!);
    const folders = sources.filter((source) => source.startsWith('./'));
    expect(folders.filter((folder) => !existsSync(fromRoot(folder)))).toEqual([]);
    expect(sources.filter((source) => !folders.includes(source)).toSorted()).toEqual(
      Object.keys(compose.volumes).toSorted(),
    );
  });

  test('mounts to the paths that the programs use', () => {
    const { command } = nats as Service & { command: string[] };
    const targets = (service: Service) => service.volumes.map((mount) => mount.split(':')[1]);
    expect(targets(nats)).toEqual([command.at(-1), nats.environment.NATS_STORE_DIR!.replaceAll('"', '')]);
    expect(targets(registry)).toEqual([imageEnvironment().REGISTRY_VOLUME]);
  });
});

describe('deploy/nats.conf', () => {
  const started = shared(async (ends) => {
    const folder = await temporaryFolder(ends);
    const env = natsEnvironment(folder);
    const server = await startConfigured(process.env.NATS_SERVER_BIN!, 'deploy/nats.conf', env, { folder, ends });
    return { ...server, folder, env };
  });

  const check = (env: NodeJS.ProcessEnv) =>
    run(process.env.NATS_SERVER_BIN!, ['-t', '--config', fromRoot('deploy/nats.conf')], { env });
  const signIn = (pass?: string) =>
    connect({ servers: started().client, reconnect: false, ...(pass && { user: setting('user'), pass }) });

  test('is accepted with the environment from compose, even if the password is all digits', async () => {
    await expect(check(started().env)).resolves.toBeDefined();
  });

  test.each(['NATS_PASSWORD', 'NATS_STORE_DIR'])('is refused without %s', async (name) => {
    const { [name]: _, ...env } = started().env;
    await expect(check(env)).rejects.toMatchObject({ code: 1, stderr: expect.stringContaining(`'${name}'`) });
  });

  test('keeps JetStream on the disk, synced before it acknowledges', async () => {
    const varz = (await (await fetch(`${started().monitoring}/varz`)).json()) as { jetstream: { config: unknown } };
    // `sync_interval` still reports the default of two minutes; `sync_always` reports "always".
    const store_dir = join(started().folder, 'store', 'jetstream');
    expect(varz.jetstream.config).toMatchObject({ sync_always: true, store_dir });
  });

  test('answers the health check', async () => {
    const healthz = new URL(nats.healthcheck?.test.at(-1) ?? '').pathname;
    const response = await fetch(new URL(healthz, started().monitoring));
    expect([response.status, await response.json()]).toEqual([200, { status: 'ok' }]);
  });

  test.each([
    ['no password', undefined],
    ['another password', '9876543210'],
  ])('refuses a client with %s', async (_, pass) => {
    await expect(signIn(pass)).rejects.toBeInstanceOf(errors.AuthorizationError);
  });

  test('lets the registry sign in and create a log', async () => {
    const connection = await signIn(SECRETS.NATS_PASSWORD);
    onTestFinished(() => connection.close());
    const manager = await jetstreamManager(connection);
    await manager.streams.add({ name: 'REGISTRY', subjects: ['registry.models.*'], storage: StorageType.File });
    const ack = await jetstream(connection).publish('registry.models.default', '{}');
    expect(ack.seq).toBe(1);
  });
});

describe('Dockerfile', () => {
  test('copies only files that exist and that .dockerignore does not exclude', () => {
    const kept = text('.dockerignore').split('\n');
    const copied = dockerfile
      .filter(({ name, rest }) => name === 'COPY' && !rest.startsWith('--from='))
      .flatMap(({ rest }) => rest.split(/\s+/).slice(0, -1));
    expect(kept).toContain('*');
    expect(copied).toContain('src');
    expect(copied.filter((path) => !existsSync(fromRoot(path)) || !kept.includes(`!${path}`))).toEqual([]);
  });

  test('starts a file that the build creates', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'signalbox-dist-'));
    onTestFinished(() => rm(folder, { recursive: true, force: true }));
    const [node, file, command] = JSON.parse(argument('CMD')) as string[];
    await run(process.execPath, [
      fromRoot('node_modules/typescript/bin/tsc'),
      ...['-p', fromRoot('tsconfig.build.json'), '--outDir', join(folder, 'dist')],
    ]);
    expect([node, command]).toEqual(['node', 'serve']);
    expect(existsSync(join(folder, file!))).toBe(true);
    expect(JSON.parse(text('package.json')).bin.signalbox).toBe(file);
  }, 60_000);

  test('runs as a user other than root, on the volume that it declares', () => {
    expect(argument('USER')).toBe('node');
    expect(JSON.parse(argument('VOLUME'))).toEqual([imageEnvironment().REGISTRY_VOLUME]);
    expect(argument('EXPOSE')).toBe(imageEnvironment().PORT);
  });

  test('takes nats-server from the image that compose runs', () => {
    const images = dockerfile.filter(({ name }) => name === 'COPY').map(({ rest }) => rest.split(/\s+/)[0]);
    expect(images).toContain(`--from=${nats.image}`);
  });

  test.each([
    [200, 0],
    [503, 1],
  ])('has a health check that turns %i from /readyz into exit code %i', async (status, code) => {
    const server = createServer((request, response) => {
      response.writeHead(request.url === '/readyz' ? status : 404).end();
    });
    onTestFinished(() => void server.close());
    await once(server.listen(0, '127.0.0.1'), 'listening');
    expect(await healthCheck((server.address() as AddressInfo).port)).toBe(code);
  });

  test('has a health check that fails if nothing listens', async () => {
    const server = createServer();
    await once(server.listen(0, '127.0.0.1'), 'listening');
    const { port } = server.address() as AddressInfo;
    await once(server.close(), 'close');
    expect(await healthCheck(port)).toBe(1);
  });
});

/** Returns the exit code of the image's health check, run with this Node instead of the image's. */
async function healthCheck(port: number): Promise<number> {
  const command = JSON.parse(argument('HEALTHCHECK').replace(/^.*?CMD /, '')) as string[];
  const child = spawn(process.execPath, command.slice(1), { env: { PORT: String(port) }, stdio: 'ignore' });
  const [code] = (await once(child, 'exit')) as [number];
  return code;
}

/** Expands `${NAME:-default}` and `${NAME:?message}` as Compose does. */
function substitute(value: string, variables: Record<string, string>): string {
  return value.replaceAll(/\$\{(\w+):([-?])([^}]*)\}/g, (_, name: string, kind: string, rest: string) => {
    if (variables[name]) return variables[name];
    if (kind === '-') return rest;
    throw new Error(`required variable ${name} is missing a value: ${rest}`);
  });
}

/** Returns the environment of the nats service, with its store in `folder`. */
function natsEnvironment(folder: string): Record<string, string> {
  const environment = Object.entries(nats.environment).map(([name, value]) => [name, substitute(value, SECRETS)]);
  return { ...Object.fromEntries(environment), NATS_STORE_DIR: JSON.stringify(join(folder, 'store')) };
}

function setting(name: string): string {
  const found = new RegExp(`^\\s*${name}: "?([^"\\s]+)`, 'm').exec(natsConf)?.[1];
  if (!found) throw new Error(`deploy/nats.conf does not set ${name}`);
  return found;
}

function instructions(source: string): { name: string; rest: string }[] {
  const lines = source.replaceAll(/^#.*\n/gm, '').replaceAll(/\\\n\s*/g, '');
  return [...lines.matchAll(/^([A-Z]+)\s+(.*)$/gm)].map(([, name, rest]) => ({ name: name!, rest: rest! }));
}

/** Returns the argument of an instruction in the last stage. */
function argument(name: string): string {
  const found = dockerfile.findLast((instruction) => instruction.name === name)?.rest;
  if (found === undefined) throw new Error(`the Dockerfile has no ${name}`);
  return found;
}

function imageEnvironment(): Record<string, string> {
  return Object.fromEntries(
    argument('ENV')
      .split(/\s+/)
      .map((pair) => pair.split('=') as [string, string]),
  );
}
