import type { ServerConfig } from '../config.ts';

/** What an installer is asked: a variable of the server, the option that answers it, and what it means. */
export interface Setting {
  name: keyof ServerConfig;
  option: string;
  what: string;
  /** The answer if none is given; none is needed where this is not there. */
  preset?: string;
  /** Asked only where this one is answered. */
  needs?: keyof ServerConfig;
}

const provider = { needs: 'REGISTRY_JWKS_URL' } as const;

export const SETTINGS: readonly Setting[] = [
  {
    name: 'NATS_URL',
    option: '--nats-url <url>',
    what: 'NATS server, such as nats://user:password@host:4222; without one an embedded one is started',
  },
  {
    name: 'REGISTRY_VOLUME',
    option: '--volume <folder>',
    what: 'volume: the folder of the models’ files',
    preset: './registry',
  },
  { name: 'HOST', option: '--host <address>', what: 'address to listen on', preset: '127.0.0.1' },
  { name: 'PORT', option: '--port <number>', what: 'port to listen on', preset: '8080' },
  {
    name: 'REGISTRY_PUBLIC_URL',
    option: '--public-url <url>',
    what: 'address that services and browsers use, where it is another',
  },
  {
    name: 'REGISTRY_JWKS_URL',
    option: '--jwks-url <url>',
    what: 'an identity provider’s keys (its jwks_uri), if there is one',
  },
  {
    name: 'REGISTRY_JWT_ISSUER',
    option: '--issuer <url>',
    what: 'issuer that the provider’s tokens name',
    ...provider,
  },
  {
    name: 'REGISTRY_JWT_AUDIENCE',
    option: '--audience <name>',
    what: 'audience that the provider’s tokens name',
    ...provider,
  },
  {
    name: 'REGISTRY_ENVIRONMENTS',
    option: '--environments <names>',
    what: 'environments, separated by commas',
    preset: 'production,staging,dev',
  },
];
