import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { type CallOptions, type RegistryClient, RegistryUnreachable } from '../../src/client/client.ts';
import { sendFile } from '../../src/client/upload.ts';
import { Problem, type ProblemCode } from '../../src/domain/errors.ts';
import { bytesOf, digestOfBytes, someBytes } from '../support/bytes.ts';
import { cutWhileReading } from '../support/cut.ts';
import { temporaryFolder } from '../support/folder.ts';

const bytes = someBytes(1_000_000);
const digest = digestOfBytes(bytes);
const artifact = { path: 'a.bin', digest, size: bytes.length };
const PATIENCE = { pausesMs: [0, 0], idleMs: 60_000 };

const unreachable = () => new RegistryUnreachable('There is no answer.');
const problem = (code: ProblemCode) => new Problem(code, 'because');
const at = (upload_offset: number) => ({ upload_offset, upload_complete: false });

/** A step of a registry: the answer to a question for the offset, or how it takes the bytes: an error, or null. */
type Step = { upload_offset: number; upload_complete: boolean } | Error | null;

/** Sends the file to a registry that answers with these steps; returns its requests and the progress. */
async function send(steps: Step[]) {
  const requests: string[] = [];
  const received: Buffer[] = [];
  let sent = 0;
  const call = async (method: string, path: string, { bytes, headers }: CallOptions = {}) => {
    const step = steps.shift();
    if (step === undefined) throw new Error('a request too many');
    const offset = headers?.['Upload-Offset'];
    requests.push(`${method} ${path.split('/')[2]}${offset === undefined ? '' : ` ${offset}`}`);
    if (step instanceof Error) throw step;
    if (bytes) {
      received.push(await bytesOf(bytes.stream));
      expect(received.at(-1)!.length).toBe(bytes.size);
      expect(await bytes.digest()).toBe(digestOfBytes(received.at(-1)!));
    }
    return step;
  };
  const path = join(await temporaryFolder(), 'a.bin');
  await writeFile(path, bytes);
  const count = (more: number) => {
    sent += more;
  };
  const error = await sendFile({ call } as unknown as RegistryClient, path, artifact, count, PATIENCE).then(
    () => null,
    (error: unknown) => error,
  );
  expect(steps).toEqual([]);
  return { requests, received: Buffer.concat(received), sent, error };
}

it('sends a file with one request', async () => {
  const { requests, received, sent, error } = await send([null]);
  expect({ requests, sent, error }).toEqual({ requests: ['PUT blobs'], sent: bytes.length, error: null });
  expect(received.equals(bytes)).toBe(true);
});

it('goes on where the upload ended', async () => {
  const { requests, received, sent, error } = await send([unreachable(), at(400_000), null]);
  expect({ requests, sent, error }).toEqual({
    requests: ['PUT blobs', 'GET uploads', 'PATCH uploads 400000'],
    sent: bytes.length,
    error: null,
  });
  expect(received.equals(bytes.subarray(400_000))).toBe(true);
});

it('sends nothing more if all bytes arrived', async () => {
  const complete = await send([unreachable(), { upload_offset: bytes.length, upload_complete: true }]);
  expect(complete).toMatchObject({ requests: ['PUT blobs', 'GET uploads'], sent: bytes.length, error: null });
  const unstored = await send([unreachable(), at(bytes.length), null]);
  expect(unstored).toMatchObject({ sent: bytes.length, error: null });
  expect(unstored.requests.at(-1)).toBe(`PATCH uploads ${bytes.length}`);
});

it('begins again if nothing was kept', async () => {
  const { requests, received } = await send([problem('internal'), at(0), null]);
  expect(requests).toEqual(['PUT blobs', 'GET uploads', 'PUT blobs']);
  expect(received.equals(bytes)).toBe(true);
});

it.each(['checksum-mismatch', 'too-many-uploads'] as const)(
  'begins again if the kept bytes end with %s',
  async (code) => {
    const { requests, error } = await send([unreachable(), at(400_000), problem(code), at(0), null]);
    expect(error).toBeNull();
    expect(requests.at(-1)).toBe('PUT blobs');
  },
);

it('asks again after a wrong offset', async () => {
  const { requests } = await send([unreachable(), at(9), problem('mismatching-upload-offset'), at(7), null]);
  expect(requests.at(-1)).toBe('PATCH uploads 7');
});

it('gives up after attempts that get no further', async () => {
  const { error } = await send([unreachable(), at(9), unreachable(), at(9), unreachable(), at(9), unreachable()]);
  expect(error).toBeInstanceOf(RegistryUnreachable);
});

it('goes on as long as it gets further, also while the registry is away', async () => {
  const away = [unreachable(), unreachable()];
  const further = [100, 200, 300].flatMap((offset) => [...away, at(offset)]);
  expect((await send([...further, null])).error).toBeNull();
});

it.each(['not-found', 'method-not-allowed'] as const)('does not try again if the registry answers %s', async (code) => {
  const failure = unreachable();
  const { requests, error } = await send([failure, problem(code)]);
  expect(error).toBe(failure);
  expect(requests).toEqual(['PUT blobs', 'GET uploads']);
});

it.each(['checksum-mismatch', 'volume-full', 'forbidden', 'too-large'] as const)('ends with %s', async (code) => {
  const { error } = await send([problem(code)]);
  expect(error).toMatchObject({ code });
});

it('ends an upload whose connection takes no bytes', async () => {
  const path = join(await temporaryFolder(), 'a.bin');
  await writeFile(path, bytes);
  const call = (method: string, _: string, { bytes, signal }: CallOptions = {}) => {
    if (method === 'GET') throw problem('not-found');
    const reader = bytes!.stream.getReader();
    return new Promise((_, reject) => {
      signal!.addEventListener('abort', () => void reader.cancel().then(() => reject(signal!.reason)));
      void reader.read();
    });
  };
  const patience = { pausesMs: [0], idleMs: 50 };
  const sending = sendFile({ call } as unknown as RegistryClient, path, artifact, () => {}, patience);
  await expect(sending).rejects.toThrow('The connection took no bytes for 0.05 s.');
});

it('an upload that the registry refuses in the middle ends nothing but itself', async () => {
  const path = join(await temporaryFolder(), 'a.bin');
  await writeFile(path, bytes);
  await cutWhileReading(async () => {
    const { promise, resolve } = Promise.withResolvers<ReadableStream<Uint8Array>>();
    const call = async (_method: string, _path: string, { bytes }: CallOptions) => resolve(bytes!.stream);
    await sendFile({ call } as unknown as RegistryClient, path, artifact, () => {});
    return promise;
  });
});
