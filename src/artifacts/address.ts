/** Where a registry keeps its artifacts: a parsed `REGISTRY_ARTIFACTS`. */
export type StoreAddress =
  | { kind: 'file' /** Null is the volume. */; folder: string | null }
  | ({ kind: 's3'; region: string | null } & InBucket)
  | ({ kind: 'azure' } & InBucket)
  | ({ kind: 'gs' } & InBucket)
  | { kind: 'nats' /** Null is the log's own NATS. */; url: string | null };

export interface InBucket {
  /** A bucket; on Azure, a container. */
  bucket: string;
  /** Ends with `/`, unless it is empty. */
  prefix: string;
  /** The address of a server other than the cloud's own, such as `http://127.0.0.1:8333`. */
  endpoint: string | null;
}

const FORMS = 'file:, s3://bucket/prefix, azure://container/prefix, gs://bucket/prefix, nats: or nats://host:port';
const PARAMETERS = { file: [], s3: ['endpoint', 'region'], azure: ['endpoint'], gs: ['endpoint'], nats: [] } as const;

/**
 * Parses the address of a store.
 *
 * @example parseStoreAddress('s3://models/prod?endpoint=http://127.0.0.1:8333&region=eu-west-1')
 * @throws {Error} that says what is wrong with it
 */
export function parseStoreAddress(text: string): StoreAddress {
  const scheme = /^([a-z0-9]+):/.exec(text)?.[1]?.replace(/^tls$/, 'nats');
  if (!isKind(scheme)) throw new Error(`must be ${FORMS}`);
  if (scheme === 'file') return { kind: 'file', folder: folderOf(text) };
  if (scheme === 'nats') return { kind: 'nats', url: natsUrlOf(text) };
  const url = URL.parse(text);
  if (!url?.hostname || url.username || url.password || url.port || url.hash) {
    throw new Error(
      `must be ${scheme}://<bucket>/<prefix>, without credentials: those come from the cloud's own settings`,
    );
  }
  checkParameters(url, scheme);
  const prefix = decoded(url.pathname).replace(/^\/+|\/+$/g, '');
  const endpoint = endpointOf(url);
  const place = { bucket: url.hostname, prefix: prefix && `${prefix}/`, endpoint };
  return scheme === 's3'
    ? { kind: 's3', region: url.searchParams.get('region'), ...place }
    : { kind: scheme, ...place };
}

function isKind(scheme: string | undefined): scheme is StoreAddress['kind'] {
  return scheme !== undefined && Object.hasOwn(PARAMETERS, scheme);
}

function folderOf(text: string): string | null {
  const path = text.slice('file:'.length).replace(/^\/\/(?=\/)/, '');
  if (/[?#]/.test(path)) throw new Error('file: takes a folder only');
  return path || null;
}

/** The same form as `NATS_URL`. */
function natsUrlOf(text: string): string | null {
  if (text === 'nats:') return null;
  if (/^(nats|tls):\/\/[^/?#,]+(,[^/?#,]+)*$/.test(text)) return text;
  throw new Error('must be nats: or nats://host:port');
}

function decoded(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch (cause) {
    throw new Error('has a prefix that is not percent-encoded correctly', { cause });
  }
}

function checkParameters({ searchParams }: URL, kind: StoreAddress['kind']): void {
  const known: readonly string[] = PARAMETERS[kind];
  const unknown = [...searchParams.keys()].find((name) => !known.includes(name));
  if (unknown !== undefined) throw new Error(`has an unknown parameter "${unknown}"; known: ${known.join(', ')}`);
}

function endpointOf({ searchParams }: URL): string | null {
  const given = searchParams.get('endpoint');
  if (given === null) return null;
  const endpoint = URL.parse(given);
  if (!endpoint || !/^https?:$/.test(endpoint.protocol))
    throw new Error('endpoint must be an http:// or https:// address');
  if (endpoint.username || endpoint.password) throw new Error('endpoint must have no credentials');
  return given.replace(/\/+$/, '');
}

/** Returns the address for messages: without credentials. */
export function nameOf(address: StoreAddress): string {
  if (address.kind === 'file') return `file:${address.folder ?? ''}`;
  if (address.kind !== 'nats') return `${address.kind}://${address.bucket}/${address.prefix}`.replace(/\/$/, '');
  return address.url?.replace(/(\/\/|,)[^,]*@/g, '$1') ?? 'nats:';
}
