import { reasonOf } from '../files/system-error.ts';

/** An address of the artifact store gave no bytes. The message has no query: whoever knows it may read the file. */
export class UnusableAddress extends Error {
  override readonly name = 'UnusableAddress';
}

export interface Part {
  /** The number of bytes to skip. */
  from: number;
  /** The size of the whole file. */
  size: number;
}

/**
 * Yields the bytes of the address that a registry redirected to. Of the request to the registry it sends the range only, since
 * the address is a credential of its own. A further redirect is not followed.
 *
 * @throws {UnusableAddress} if it yields no bytes
 */
export async function* readAddress(redirect: Response, part: Part, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  await redirect.body?.cancel();
  const address = addressIn(redirect);
  let began = false;
  try {
    for await (const chunk of await open(address, part, signal)) {
      began = true;
      yield chunk;
    }
  } catch (cause) {
    if (began) throw cause;
    throw new UnusableAddress(`${address.origin}: ${reasonOf(cause)}`, { cause });
  }
  if (!began) throw new UnusableAddress(`${address.origin} sent no bytes`);
}

/** @throws {UnusableAddress} */
function addressIn({ url, headers }: Response): URL {
  const address = URL.parse(headers.get('location') ?? '');
  if (!address || !/^https?:$/.test(address.protocol) || address.username || address.password) {
    throw new UnusableAddress('the registry redirected to an address that is not http:// or https://');
  }
  if (address.protocol === 'http:' && !url.startsWith('http:')) {
    throw new UnusableAddress(`${address.origin} has no TLS, but the registry has`);
  }
  return address;
}

async function open(address: URL, { from, size }: Part, signal: AbortSignal): Promise<ReadableStream<Uint8Array>> {
  const range: Record<string, string> = from > 0 ? { Range: `bytes=${from}-` } : {};
  const headers = { 'Accept-Encoding': 'identity', ...range };
  const response = await fetch(address, { headers, redirect: 'manual', signal });
  const whole = from === 0 && response.status === 200;
  const rest =
    from > 0 && response.status === 206 && !!response.headers.get('content-range')?.startsWith(`bytes ${from}-`);
  const length = response.headers.get('content-length');
  // Something else may answer in place of the store, such as the page of a proxy.
  if ((whole || rest) && length === String(size - from) && response.body) return response.body;
  await response.body?.cancel();
  throw new Error(`it answered ${response.status} with ${length ?? 'unknown'} bytes`);
}
