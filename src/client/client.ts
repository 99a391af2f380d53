import type { ProblemDocument } from '../api/problem.ts';
import { REDIRECT } from '../api/redirect.ts';
import { type Digest, digestField, sha256Hex } from '../domain/digest.ts';
import { isProblemCode, Problem } from '../domain/errors.ts';
import { reasonOf } from '../files/system-error.ts';

/** There was no valid response: nothing listens at the address, or it is not a registry. */
export class RegistryUnreachable extends Error {
  override readonly name = 'RegistryUnreachable';
}

/** The registry refused the token or the signature of the request. */
export class CredentialRefused extends Problem {
  readonly signed: boolean;

  constructor(detail: string, fields: Record<string, unknown>, { signed }: { signed: boolean }) {
    super('unauthenticated', detail, fields);
    this.signed = signed;
  }
}

export interface ClientOptions {
  /** The registry's address, such as `http://127.0.0.1:8080`. */
  dsn: string;
  /** Returns the token to send; called for each request. */
  token(): Promise<string>;
  /** Returns the headers that sign a request instead of a token. */
  sign?(request: Unsigned): Record<string, string>;
}

/** A request before it is signed. */
export interface Unsigned {
  method: string;
  url: URL;
  /** Names are in lower case. */
  headers: Record<string, string>;
}

export interface CallOptions {
  query?: Record<string, string | number | boolean | undefined>;
  json?: unknown;
  bytes?: StreamedBytes;
  headers?: Record<string, string>;
  /** Asks for a redirect to the artifact store; `open` then may return a 307. */
  acceptRedirect?: boolean;
  signal?: AbortSignal;
}

/** Bytes to stream. */
export interface StreamedBytes {
  stream: ReadableStream<Uint8Array>;
  size: number;
  /** Returns the digest of these bytes; called if the request is signed. */
  digest(): Promise<Digest>;
  /** Default: application/octet-stream. */
  type?: string;
}

/** Follows no redirect: fetch would send signatures, and all headers but `Authorization`, to the other origin. */
export interface RegistryClient {
  /** Returns the JSON of the response. @throws {Problem} from the registry; {RegistryUnreachable} */
  call<T>(method: string, path: string, options?: CallOptions): Promise<T>;
  /**
   * Returns the response itself, for callers that stream its body. A 304 is returned too.
   *
   * @throws {Problem}, {RegistryUnreachable}
   */
  open(path: string, options?: CallOptions): Promise<Response>;
  /** Returns whether a resource exists: false for a 404. @throws {Problem}, {RegistryUnreachable} */
  has(path: string): Promise<boolean>;
}

export function createClient({ dsn, token, sign }: ClientOptions): RegistryClient {
  return {
    async open(path, options = {}) {
      const { acceptRedirect = false } = options;
      const headers = { ...options.headers, ...(acceptRedirect && { [REDIRECT]: 'accept' }) };
      const response = await send('GET', path, { ...options, headers });
      const { status } = response;
      if (response.ok || status === 304 || (acceptRedirect && status === 307)) return response;
      throw await problemOf(response);
    },
    async call<T>(method: string, path: string, options: CallOptions = {}): Promise<T> {
      const response = await send(method, path, options);
      if (!response.ok) throw await problemOf(response);
      if (response.status === 204) return undefined as T;
      return (await response.json().catch((cause: unknown) => {
        throw new RegistryUnreachable(`${dsn} answered, but not as a registry does.`, { cause });
      })) as T;
    },
    async has(path) {
      const response = await send('HEAD', path, {});
      if (response.ok || response.status === 404) return response.ok;
      // The response to a HEAD has no body with the reason; that to a GET has.
      throw await problemOf(await send('GET', path, {}));
    },
  };

  async function send(method: string, path: string, options: CallOptions): Promise<Response> {
    const url = addressOf(path, options.query);
    const { init, digest, headers: bodyHeaders } = bodyOf(options);
    const unsigned = { ...options.headers, ...bodyHeaders };
    const headers = sign
      ? signed(sign, { method, url, headers: unsigned }, await digest())
      : { Authorization: `Bearer ${await token()}`, ...unsigned };
    try {
      return await fetch(url, { redirect: 'manual', ...init, method, headers, signal: options.signal ?? null });
    } catch (cause) {
      options.signal?.throwIfAborted();
      throw new RegistryUnreachable(`There is no answer from ${dsn}: ${reasonOf(cause)}.`, { cause });
    }
  }

  function addressOf(path: string, query: CallOptions['query'] = {}): URL {
    const url = new URL(dsn.replace(/\/$/, '') + path);
    for (const [name, value] of Object.entries(query)) {
      if (value !== undefined) url.searchParams.set(name, String(value));
    }
    return url;
  }

  async function problemOf(response: Response): Promise<Error> {
    const text = await response.text();
    try {
      const { code, detail, type: _t, title: _n, status: _s, ...fields } = JSON.parse(text) as ProblemDocument;
      if (code === 'unauthenticated') return new CredentialRefused(detail, fields, { signed: sign !== undefined });
      if (isProblemCode(code)) return new Problem(code, detail, fields);
    } catch {
      // Not a problem document, so not a registry: see below.
    }
    const location = URL.parse(response.headers.get('location') ?? '');
    if (location) {
      const target = location.origin + location.pathname; // a query may be secret
      const detail = `${dsn} answered ${response.status}, a redirect to ${target}. Set REGISTRY_DSN to the registry's own address.`;
      return new RegistryUnreachable(detail);
    }
    return new RegistryUnreachable(`${dsn} answered ${response.status}, but not as a registry does.`);
  }
}

interface Body {
  init: RequestInit & { duplex?: 'half' };
  headers: Record<string, string>;
  digest(): Promise<Digest | null>;
}

function bodyOf({ json, bytes }: CallOptions): Body {
  if (bytes) {
    const { size, type = 'application/octet-stream' } = bytes;
    const headers = { 'Content-Type': type, 'Content-Length': String(size) };
    // To follow a redirect, fetch would keep a copy of all bytes sent. It cannot do so with a stream anyway.
    return { init: { body: bytes.stream, duplex: 'half', redirect: 'error' }, headers, digest: bytes.digest };
  }
  if (json === undefined) return { init: {}, headers: {}, digest: async () => null };
  const body = JSON.stringify(json);
  const digest = async () => `sha256:${sha256Hex(body)}` as const;
  return { init: { body }, headers: { 'Content-Type': 'application/json' }, digest };
}

/** Returns the headers of a request with its signature and the digest of its body. */
function signed(
  sign: (request: Unsigned) => Record<string, string>,
  { headers, ...request }: Unsigned,
  digest: Digest | null,
): Record<string, string> {
  const all = { ...headers, ...(digest && { 'Content-Digest': digestField(digest) }) };
  return { ...all, ...sign({ ...request, headers: Object.fromEntries(new Headers(all)) }) };
}
