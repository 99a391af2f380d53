import { Storage } from '@google-cloud/storage';
import { nameOf, type StoreAddress } from '../../address.ts';
import { ATTEMPT_MS, attempted } from '../attempts.ts';
import { mayHelp, Refused, withoutCredentials } from './errors.ts';

export type GcsAddress = Extract<StoreAddress, { kind: 'gs' }>;

/** The status of an upload that has more bytes to come. */
export const INCOMPLETE = 308;

export interface GcsRequest {
  method?: string;
  headers?: Record<string, string>;
  body?: Buffer | string;
}

/**
 * Sends requests of the JSON API. The SDK gives the credentials and signs addresses. It does not send the requests, because
 * its own cannot be aborted, take streams that may die, and check downloads at a third of the speed.
 */
export interface Gcs {
  /** Makes a request to a path of the API, or to the address of a session; `read` gets the answer. @throws {Refused} */
  ask<T>(path: string, request: GcsRequest, signal: AbortSignal, read: (answer: Response) => Promise<T>): Promise<T>;
  /** Makes a request that sends the bytes of a part. */
  send(path: string, request: GcsRequest, signal: AbortSignal): Promise<Response>;
  /** Signs an address that reads an object. @throws {Error} if the credentials cannot sign */
  addressOf(object: string, seconds: number): Promise<string>;
}

export function createGcs(address: GcsAddress): Gcs {
  const { endpoint } = address;
  const storage = new Storage(endpoint ? { apiEndpoint: endpoint } : {});
  // Credentials never travel without TLS. Emulators need none.
  const isAnonymous = storage.apiEndpoint.startsWith('http:');

  async function request<T>(
    ms: number,
    path: string,
    { headers, ...request }: GcsRequest,
    signal: AbortSignal,
    read: (answer: Response) => Promise<T>,
  ): Promise<T> {
    // The address of a session is absolute.
    const url = new URL(path.startsWith('/') ? storage.apiEndpoint + path : path);
    return attempted(ms, signal, mayHelp, async (limited) => {
      const credentials = isAnonymous ? {} : await credentialsFor(url, limited);
      return read(await answered(url, { ...request, headers: { ...credentials, ...headers }, signal: limited }));
    });
  }

  async function credentialsFor(url: URL, signal: AbortSignal): Promise<Record<string, string>> {
    try {
      const headers = await abortable(storage.authClient.getRequestHeaders(url.href), signal);
      return Object.fromEntries(headers);
    } catch (error) {
      signal.throwIfAborted();
      throw withoutCredentials(nameOf(address), error);
    }
  }

  return {
    ask: (path, asked, signal, read) => request(ATTEMPT_MS.answer, path, asked, signal, read),
    send: (path, sent, signal) =>
      request(ATTEMPT_MS.part, path, sent, signal, async (answer) => {
        await answer.arrayBuffer();
        return answer;
      }),
    async addressOf(object, seconds) {
      const expires = Date.now() + seconds * 1000;
      const file = storage.bucket(address.bucket).file(object);
      const signing = file.getSignedUrl({ version: 'v4', action: 'read', expires });
      // Without a private key, Google is asked to sign.
      return (await abortable(signing, AbortSignal.timeout(ATTEMPT_MS.answer)))[0];
    },
  };
}

async function answered(url: URL, request: RequestInit): Promise<Response> {
  const answer = await fetch(url, { ...request, redirect: 'manual' });
  if (answer.ok || answer.status === INCOMPLETE) return answer;
  throw new Refused(answer.status, messageIn(await answer.text()));
}

function messageIn(body: string): string {
  try {
    const { error } = JSON.parse(body) as { error: { message: string } };
    return error.message;
  } catch {
    return body.trim().slice(0, 200); // a proxy's page
  }
}

/** Stops waiting for a promise when a signal is aborted. */
async function abortable<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const abort = () => reject(signal.reason);
  signal.addEventListener('abort', abort, { once: true });
  if (signal.aborted) abort();
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}
