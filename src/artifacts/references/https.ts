import type { lookup } from 'node:dns';
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { Agent, request } from 'node:https';
import { Problem } from '../../domain/errors.ts';
import type { ByteRange } from '../store.ts';
import type { OpenObject } from '../stores/bucket.ts';
import { literalOf, publicLookup } from './public-address.ts';
import type { SourceReader } from './reader.ts';

/** The longest time in ms until the head of an answer. */
const ANSWER_MS = 10_000;
const SOCKETS = 64;

export interface HttpsOptions {
  /** In place of the system's resolver. */
  resolve?: typeof lookup;
  /** Certificates to trust besides those of Node. */
  ca?: string;
  answerMs?: number;
}

/**
 * Reads files below an address, without credentials and without following redirects, from public addresses only. A host that
 * the operator named by its IP address may be any: so servers of an intranet can be allowed one by one.
 *
 * @param prefix such as `https://files.example/models/`
 */
export function createHttpsSource(prefix: string, options: HttpsOptions = {}): SourceReader {
  const { resolve, ca, answerMs = ANSWER_MS } = options;
  const isLiteral = literalOf(new URL(prefix).hostname) !== null;
  // An agent of its own: the global one may be set to send everything through a proxy.
  const agent = new Agent({
    keepAlive: true,
    maxSockets: SOCKETS,
    // Not called for an IP address, which can only be the one in the prefix.
    lookup: publicLookup(resolve),
    ...(ca && { ca }),
  });

  return {
    name: prefix,

    async read(key, range, signal) {
      const address = new URL(prefix + key);
      if (!address.href.startsWith(prefix) || (!isLiteral && literalOf(address.hostname) !== null)) {
        throw new Problem('reference-not-allowed', `${address.href} is not below ${prefix}.`);
      }
      const response = await get(address, range, signal);
      try {
        return opened(address, response, range);
      } catch (error) {
        response.destroy();
        throw error;
      }
    },

    close: async () => agent.destroy(),
  };

  async function get(address: URL, range: ByteRange | null, signal: AbortSignal): Promise<IncomingMessage> {
    const late = AbortSignal.timeout(answerMs);
    const headers = {
      'Accept-Encoding': 'identity',
      'User-Agent': 'signalbox',
      ...(range && { Range: `bytes=${range.start}-${range.end}` }),
    };
    const asked = request(address, { agent, headers, signal });
    const end = () => asked.destroy(new Error(`it did not answer within ${answerMs} ms`));
    late.addEventListener('abort', end, { once: true });
    try {
      const [response] = (await once(asked.end(), 'response')) as [IncomingMessage];
      return response;
    } finally {
      late.removeEventListener('abort', end);
      // Errors after the answer reach the reader of the answer.
      asked.on('error', () => {});
    }
  }
}

function opened(address: URL, response: IncomingMessage, range: ByteRange | null): OpenObject | null {
  const { statusCode = 0, headers } = response;
  const refuse = (what: string) => new Problem('store-unavailable', `${address.href} ${what}.`);
  if (statusCode === 404 || statusCode === 410) {
    response.destroy();
    return null;
  }
  if (statusCode >= 300 && statusCode < 400) throw refuse(`answers ${statusCode}: redirects are not followed`);
  if (statusCode !== 200 && statusCode !== 206) throw refuse(`answers ${statusCode}`);
  if (headers['content-encoding'] !== undefined && headers['content-encoding'] !== 'identity')
    throw refuse('is sent compressed, although that was not asked for');
  if (range && (statusCode !== 206 || !headers['content-range']?.startsWith(`bytes ${range.start}-`)))
    throw refuse('cannot be read from the middle: the server ignores Range');
  if (!range && statusCode !== 200) throw refuse(`answers ${statusCode} to a request for all bytes`);
  if (!/^\d{1,16}$/.test(headers['content-length'] ?? '')) throw refuse('is sent without a Content-Length');
  return {
    length: Number(headers['content-length']),
    bytes: response,
    etag: headers.etag ?? headers['last-modified'],
  };
}
