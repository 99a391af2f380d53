import { createHash } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { ReadableStream } from 'node:stream/web';

const ANSWER_TIMEOUT_MS = 20_000;
const SILENCE_TIMEOUT_MS = 30_000;
const TOTAL_TIMEOUT_MS = 15 * 60_000;
const MAX_SUMS_BYTES = 256 * 1024;
// A release archive is about 8 MB.
const MAX_ARCHIVE_BYTES = 128 * 1024 * 1024;
const MB = 1_000_000;

/** Not to be had from here: no network, no answer, no such file. */
class Unreachable extends Error {}

/**
 * Stores `<release>/<file>` at `to` when its SHA-256 is the one in `<release>/SHA256SUMS`.
 * Answers why when it cannot be reached; throws when what came is not what the release promises.
 */
export async function downloadVerified(wanted: {
  release: string;
  file: string;
  to: string;
  progress: (line: string) => void;
}): Promise<Error | undefined> {
  try {
    const expected = await publishedSum(wanted.release, wanted.file);
    const actual = await download(wanted);
    if (actual === expected) return undefined;
    throw new Error(
      `${wanted.release}/${wanted.file} does not have the checksum which its release publishes ` +
        `(expected ${expected}, got ${actual}). It was not unpacked. Try again from another network, or set NATS_SERVER_BIN.`,
    );
  } catch (error) {
    if (error instanceof Unreachable) return error;
    throw error;
  }
}

async function publishedSum(release: string, file: string): Promise<string> {
  const { body } = await open(`${release}/SHA256SUMS`, MAX_SUMS_BYTES);
  const chunks: Buffer[] = [];
  for await (const chunk of body) chunks.push(chunk as Buffer);
  const lines = Buffer.concat(chunks).toString('utf8').split('\n');
  const line = lines.map((text) => /^([0-9a-f]{64})\s+\*?(\S+)\s*$/.exec(text)).find((match) => match?.[2] === file);
  if (!line?.[1]) throw new Unreachable(`${release}/SHA256SUMS does not list ${file}`);
  return line[1];
}

async function download({ release, file, to, progress }: Parameters<typeof downloadVerified>[0]): Promise<string> {
  const { body, size } = await open(`${release}/${file}`, MAX_ARCHIVE_BYTES);
  const hash = createHash('sha256');
  const told = teller(file, size, progress);
  const watch = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      hash.update(chunk);
      told(chunk.length);
      done(null, chunk);
    },
  });
  await pipeline(body, watch, createWriteStream(to, { flags: 'wx' }));
  return hash.digest('hex');
}

/** One line at the beginning and at most one every two seconds: readable on a terminal and in a log. */
function teller(file: string, size: number | undefined, progress: (line: string) => void): (bytes: number) => void {
  const total = size === undefined ? '' : ` of ${(size / MB).toFixed(1)}`;
  let got = 0;
  let last = Date.now();
  progress(`downloading ${file}${size === undefined ? '' : ` (${(size / MB).toFixed(1)} MB)`}`);
  return (bytes) => {
    got += bytes;
    if (Date.now() - last < 2000 && got !== size) return;
    last = Date.now();
    const percent = size ? `${Math.floor((got / size) * 100)} %, ` : '';
    progress(`downloading ${file}: ${percent}${(got / MB).toFixed(1)}${total} MB`);
  };
}

/** A GET whose body ends with an error when it is silent for long, takes too long or is larger than `limit`. */
async function open(url: string, limit: number): Promise<{ body: Readable; size: number | undefined }> {
  const patience = startPatience();
  try {
    const response = await fetch(url, { signal: patience.signal });
    if (response.status !== 200 || !response.body) {
      await response.body?.cancel();
      throw new Error(`it answered ${response.status}`);
    }
    const size = Number(response.headers.get('content-length')) || undefined;
    const chunks = Readable.fromWeb(response.body as ReadableStream);
    return { body: Readable.from(guarded(url, chunks, limit, patience)), size };
  } catch (error) {
    patience.stop();
    throw unreachable(url, error);
  }
}

async function* guarded(url: string, chunks: AsyncIterable<Buffer>, limit: number, patience: Patience) {
  let got = 0;
  try {
    for await (const chunk of chunks) {
      patience.renew();
      got += chunk.length;
      if (got > limit) break;
      yield chunk;
    }
  } catch (error) {
    throw unreachable(url, error);
  } finally {
    patience.stop();
  }
  if (got > limit) throw new Error(`${url} is larger than ${limit} bytes, which no release is. It was not unpacked.`);
}

type Patience = ReturnType<typeof startPatience>;

/** A signal that aborts when nobody renews it for a while, and in any case after TOTAL_TIMEOUT_MS. */
function startPatience() {
  const silent = new AbortController();
  const wait = (ms: number) => setTimeout(() => silent.abort(new Error(`no answer within ${ms / 1000} s`)), ms);
  let timer = wait(ANSWER_TIMEOUT_MS);
  return {
    signal: AbortSignal.any([silent.signal, AbortSignal.timeout(TOTAL_TIMEOUT_MS)]),
    renew() {
      clearTimeout(timer);
      timer = wait(SILENCE_TIMEOUT_MS);
    },
    stop: () => clearTimeout(timer),
  };
}

/** fetch says only "fetch failed"; what failed is in its cause. */
function unreachable(url: string, error: unknown): Unreachable {
  const { cause, message } = error as Error;
  return new Unreachable(`${url}: ${cause instanceof Error ? cause.message : message}`, { cause: error });
}
