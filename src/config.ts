import { z } from 'zod';
import { parseStoreAddress } from './artifacts/address.ts';
import { parseReferencePrefixes } from './artifacts/references/prefix.ts';
import { MAX_ACTIVATION_LIMIT } from './domain/model.ts';
import { EnvironmentName, ModelName } from './domain/names.ts';

const list = z.string().transform((text) => text.split(',').map((name) => name.trim()));

const environments = list
  .pipe(z.array(EnvironmentName).min(1))
  .refine((names) => new Set(names).size === names.length, 'must not name an environment twice');

function whole(min: number, max: number) {
  const error = `must be a whole number from ${min} to ${max}`;
  return z.coerce.number(error).int(error).min(min, error).max(max, error);
}

const httpUrl = z.url({
  protocol: /^https?$/,
  error: 'must start with http:// or https://, such as http://127.0.0.1:8080',
});

const storeAddress = z.string().superRefine((text, context) => {
  try {
    parseStoreAddress(text);
  } catch (error) {
    context.addIssue({ code: 'custom', message: (error as Error).message });
  }
});

/** @param parse throws an error whose message says what is wrong */
function parsedBy<T, R>(parse: (value: T) => R) {
  return (value: T, context: z.core.$RefinementCtx): R => {
    try {
      return parse(value);
    } catch (error) {
      context.addIssue({ code: 'custom', message: (error as Error).message });
      return z.NEVER;
    }
  };
}

/** A year. */
const MAX_SCRUB_HOURS = 8_760;

/** The variables of the server. An empty variable counts as not set. */
export const serverVariables = z.object({
  NATS_URL: z.string().optional(),
  REGISTRY_VOLUME: z.string().default('./registry'),
  REGISTRY_ENVIRONMENTS: environments.default(['production', 'staging', 'dev']),
  REGISTRY_ACTIVATION_LIMIT: whole(0, MAX_ACTIVATION_LIMIT).optional(),
  REGISTRY_COMMAND_LIMIT: whole(0, Number.MAX_SAFE_INTEGER).default(600),
  REGISTRY_ARTIFACTS: storeAddress.default('file:'),
  REGISTRY_REFERENCES: list.transform(parsedBy(parseReferencePrefixes)).default([]),
  REGISTRY_CACHE_GIB: whole(1, 1_000_000).default(10),
  REGISTRY_VOLUME_VERSIONS: z.enum(['all', 'active']).optional(),
  REGISTRY_SCRUB_HOURS: whole(0, MAX_SCRUB_HOURS).default(0),
  REGISTRY_DISCOVERY: z.enum(['on', 'off']).default('on'),
  REGISTRY_HISTORY_FILE: z.string().default('./logs/registry_activation_history.log'),
  HOST: z.string().default('127.0.0.1'),
  PORT: whole(0, 65_535).default(8080),
  REGISTRY_JWT_SECRET: list.optional(),
  REGISTRY_JWKS_URL: httpUrl.optional(),
  REGISTRY_JWT_ISSUER: z.string().optional(),
  REGISTRY_JWT_AUDIENCE: z.string().optional(),
  REGISTRY_ROLE_CLAIM: z.string().default('role'),
  REGISTRY_GROUPS_CLAIM: z.string().default('groups'),
  REGISTRY_POLICY: z.string().optional(),
  REGISTRY_PUBLIC_URL: httpUrl.optional(),
  REGISTRY_CORS_ORIGINS: list.pipe(z.array(httpUrl)).default([]),
  REGISTRY_RATE_LIMIT: whole(0, Number.MAX_SAFE_INTEGER).default(60_000),
  REGISTRY_TRUSTED_PROXIES: list.default([]),
  REGISTRY_CHECKPOINTS: z.string().optional(),
  REGISTRY_CHECKPOINT_KEY: z.string().optional(),
});
export type ServerConfig = z.output<typeof serverVariables>;

/** The variables of CLI commands that open the log. */
export const logVariables = serverVariables.pick({ NATS_URL: true, REGISTRY_VOLUME: true });

/** The variables of CLI commands that open the store of artifacts. */
export const artifactVariables = serverVariables.pick({ REGISTRY_VOLUME: true, REGISTRY_ARTIFACTS: true });

/** The variables of CLI commands that call the registry. */
export const clientVariables = z.object({
  REGISTRY_DSN: httpUrl.default('http://127.0.0.1:8080'),
  REGISTRY_TOKEN: z.string().optional(),
  REGISTRY_SIGNING_KEY: z.string().optional(),
  REGISTRY_MODEL: z.string().default('default'),
  REGISTRY_VOLUME: z.string().default('./registry'),
  REGISTRY_JWT_SECRET: list.optional(),
});
export type ClientConfig = z.output<typeof clientVariables>;

export const gatewayVariables = z.object({
  REGISTRY_DSN: clientVariables.shape.REGISTRY_DSN,
  REGISTRY_TOKEN: z.string('is not set'),
  HOST: z.string().default('127.0.0.1'),
  PORT: whole(0, 65_535).default(8081),
});
export type GatewayConfig = z.output<typeof gatewayVariables>;

export const loaderVariables = clientVariables.extend({
  REGISTRY_MODEL: ModelName.default('default'),
  REGISTRY_ENVIRONMENT: EnvironmentName.default('production'),
  HOT_RELOAD_ENDPOINT: z
    .string()
    .regex(/^(https?|nats|tls):\/\//, 'must start with https://, http://, nats:// or tls://')
    .optional(),
  MANIFEST_CACHE_DIR: z.string().optional(),
  SIGNALBOX_LEGACY: z.string().optional(),
});
export type LoaderConfig = z.output<typeof loaderVariables>;

/** Every variable of every program: the ones that a `.env` may set. None of them names a program to run. */
export const VARIABLES: ReadonlySet<string> = new Set(
  [serverVariables, clientVariables, gatewayVariables, loaderVariables].flatMap(({ shape }) => Object.keys(shape)),
);

/** @throws {Error} that lists every invalid variable with the reason */
export function readConfig<T>(variables: z.ZodType<T>, env: NodeJS.ProcessEnv): T {
  const given = Object.fromEntries(Object.entries(env).filter(([, value]) => value !== ''));
  const result = variables.safeParse(given);
  if (result.success) return result.data;
  const wrong = result.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}${shown(path[0], given)}`);
  throw new Error(`Invalid variables: ${wrong.join('; ')}.`, { cause: result.error });
}

const MAY_BE_SECRET = /SECRET|TOKEN|KEY/;
const MAX_SHOWN = 100;

/** The invalid value, unless it may be or contain a secret. */
function shown(name: PropertyKey | undefined, given: NodeJS.ProcessEnv): string {
  const value = given[String(name)];
  if (value === undefined || MAY_BE_SECRET.test(String(name)) || value.includes('@')) return '';
  return ` (is "${value.slice(0, MAX_SHOWN)}")`;
}
