import { isProblemCode, Problem } from '../domain/errors.ts';

/** The registry could not be asked at all: nobody listens there, or something else does. */
export class RegistryUnreachable extends Error {
  override readonly name = 'RegistryUnreachable';
}

export interface ClientOptions {
  /** The registry's address, such as `http://127.0.0.1:8080`. */
  dsn: string;
  /** The token to send, asked for each time. */
  token(): Promise<string>;
}

export interface CallOptions {
  query?: Record<string, string | number | boolean | undefined>;
  json?: unknown;
  /** Bytes to send as they come, with their size. */
  bytes?: { stream: ReadableStream<Uint8Array>; size: number };
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

export function createClient({ dsn, token }: ClientOptions): RegistryClient {
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

  async function send(
    method: string,
    path: string,
    { query, json, bytes, headers, signal }: CallOptions,
  ): Promise<Response> {
    const url = new URL(dsn.replace(/\/$/, '') + path);
    for (const [name, value] of Object.entries(query ?? {})) {
      if (value !== undefined) url.searchParams.set(name, String(value));
    }
    const all = new Headers({ Authorization: `Bearer ${await token()}`, ...headers });
    const init: RequestInit & { duplex?: 'half' } = { method, headers: all, signal: signal ?? null };
    if (json !== undefined) {
      all.set('Content-Type', 'application/json');
      init.body = JSON.stringify(json);
    }
    if (bytes) {
      all.set('Content-Type', 'application/octet-stream');
      all.set('Content-Length', String(bytes.size));
      Object.assign(init, { body: bytes.stream, duplex: 'half' });
    }
    try {
      return await fetch(url, init);
    } catch (cause) {
      signal?.throwIfAborted();
      throw new RegistryUnreachable(`There is no answer from ${dsn}.`, { cause });
    }
  }

  async function problemOf(response: Response): Promise<Error> {
    const text = await response.text();
    try {
      const { code, detail, type: _t, title: _n, status: _s, ...fields } = JSON.parse(text);
      if (isProblemCode(code)) return new Problem(code, detail, fields);
    } catch {
      // no problem document, so no registry: told below
    }
    return new RegistryUnreachable(`${dsn} answered ${response.status}, and not as a registry does.`);
  }
}
