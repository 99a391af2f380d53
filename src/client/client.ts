import type { ProblemDocument } from '../api/problem.ts';
import { type Digest, digestField, sha256Hex } from '../domain/digest.ts';
import { isProblemCode, Problem } from '../domain/errors.ts';
import { reasonOf } from '../files/system-error.ts';

/** The registry could not be asked at all: nobody listens there, or something else does. */
export class RegistryUnreachable extends Error {
  override readonly name = 'RegistryUnreachable';
}

/** The registry did not take the token or the signature that was sent. */
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
  /** The token to send, asked for each time. */
  token(): Promise<string>;
  /** The headers that sign a request, in place of a token. */
  sign?(request: Unsigned): Record<string, string>;
}

/** A request as it will be sent, but for its signature. */
export interface Unsigned {
  method: string;
  url: URL;
  /** By their names in lower case. */
  headers: Record<string, string>;
}

export interface CallOptions {
  query?: Record<string, string | number | boolean | undefined>;
  json?: unknown;
  /** Bytes to send as they come, with their size and their digest. */
  bytes?: { stream: ReadableStream<Uint8Array>; size: number; digest: Digest };
  headers?: Record<string, string>;
  signal?: AbortSignal;
}

/** The registry over HTTP. */
export interface RegistryClient {
  /** The answer's JSON. @throws {Problem} as the registry refused it; {RegistryUnreachable} */
  call<T>(method: string, path: string, options?: CallOptions): Promise<T>;
  /**
   * The answer itself, for who reads its body as it comes; a 304 is one, too.
   *
   * @throws {Problem}, {RegistryUnreachable}
   */
  open(path: string, options?: CallOptions): Promise<Response>;
  /** Whether something is there: false for a 404. @throws {Problem}, {RegistryUnreachable} */
  has(path: string): Promise<boolean>;
}

export function createClient({ dsn, token, sign }: ClientOptions): RegistryClient {
  return {
    async open(path, options = {}) {
      const response = await send('GET', path, options);
      if (!response.ok && response.status !== 304) throw await problemOf(response);
      return response;
    },
    async call<T>(method: string, path: string, options: CallOptions = {}): Promise<T> {
      const response = await send(method, path, options);
      if (!response.ok) throw await problemOf(response);
      if (response.status === 204) return undefined as T;
      return (await response.json().catch((cause: unknown) => {
        throw new RegistryUnreachable(`${dsn} answered, and not as a registry does.`, { cause });
      })) as T;
    },
    async has(path) {
      const response = await send('HEAD', path, {});
      if (response.ok || response.status === 404) return response.ok;
      // The answer to a HEAD has no body to say why; the one to a GET has.
      throw await problemOf(await send('GET', path, {}));
    },
  };

  async function send(method: string, path: string, options: CallOptions): Promise<Response> {
    const url = addressOf(path, options.query);
    const { init, digest, headers: ofBody } = bodyOf(options);
    const unsigned = { ...options.headers, ...ofBody };
    const headers = sign
      ? signed(sign, { method, url, headers: unsigned }, digest)
      : { Authorization: `Bearer ${await token()}`, ...unsigned };
    try {
      return await fetch(url, { ...init, method, headers, signal: options.signal ?? null });
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
      // no problem document, so no registry: told below
    }
    return new RegistryUnreachable(`${dsn} answered ${response.status}, and not as a registry does.`);
  }
}

interface Body {
  init: RequestInit & { duplex?: 'half' };
  headers: Record<string, string>;
  digest: Digest | null;
}

function bodyOf({ json, bytes }: CallOptions): Body {
  if (bytes) {
    const headers = { 'Content-Type': 'application/octet-stream', 'Content-Length': String(bytes.size) };
    // To follow a redirect, which it does not with a stream anyway, fetch would keep a copy of all that was sent.
    return { init: { body: bytes.stream, duplex: 'half', redirect: 'error' }, headers, digest: bytes.digest };
  }
  if (json === undefined) return { init: {}, headers: {}, digest: null };
  const body = JSON.stringify(json);
  return { init: { body }, headers: { 'Content-Type': 'application/json' }, digest: `sha256:${sha256Hex(body)}` };
}

/** The headers of a request with those that sign it, and its body's digest among them. */
function signed(
  sign: (request: Unsigned) => Record<string, string>,
  { headers, ...request }: Unsigned,
  digest: Digest | null,
): Record<string, string> {
  const all = { ...headers, ...(digest && { 'Content-Digest': digestField(digest) }) };
  return { ...all, ...sign({ ...request, headers: Object.fromEntries(new Headers(all)) }) };
}
