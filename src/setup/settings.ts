import type { ServerConfig } from '../config.ts';

/** A setting of `init`: a variable of the server, its option, and its description. */
export interface Setting {
  name: keyof ServerConfig;
  option: string;
  what: string;
  /** The default. A setting without one is optional. */
  preset?: string;
  /** Prompted for only if this other setting has a value. */
  needs?: keyof ServerConfig;
}

const provider = { needs: 'REGISTRY_JWKS_URL' } as const;

export const SETTINGS: readonly Setting[] = [
  {
    name: 'NATS_URL',
    option: '--nats-url <url>',
    what: 'NATS server, such as nats://user:password@host:4222; if empty, the registry runs its own nats-server',
  },
  {
    name: 'REGISTRY_VOLUME',
    option: '--volume <folder>',
    what: 'volume: the folder for the files of the models',
    preset: './registry',
  },
  {
    name: 'REGISTRY_ARTIFACTS',
    option: '--artifacts <store>',
    what: 'where the bytes of artifacts are kept: file: is the volume; else s3://bucket/prefix and others, docs/stores.md',
    preset: 'file:',
  },
  { name: 'HOST', option: '--host <address>', what: 'address to listen on', preset: '127.0.0.1' },
  { name: 'PORT', option: '--port <number>', what: 'port to listen on', preset: '8080' },
  {
    name: 'REGISTRY_PUBLIC_URL',
    option: '--public-url <url>',
    what: 'address that services and browsers use, if it differs',
  },
  {
    name: 'REGISTRY_JWKS_URL',
    option: '--jwks-url <url>',
    what: 'keys of an identity provider (its jwks_uri), if you use one',
  },
  {
    name: 'REGISTRY_JWT_ISSUER',
    option: '--issuer <url>',
    what: 'issuer (iss) in the tokens of the provider',
    ...provider,
  },
  {
    name: 'REGISTRY_JWT_AUDIENCE',
    option: '--audience <name>',
    what: 'audience (aud) in the tokens of the provider',
    ...provider,
  },
  {
    name: 'REGISTRY_ENVIRONMENTS',
    option: '--environments <names>',
    what: 'environments, separated by commas',
    preset: 'production,staging,dev',
  },
];
