import { expect, onTestFinished, test } from 'vitest';
import { createHttpsSource } from '../../../src/artifacts/references/https.ts';
import { withReferences } from '../../../src/artifacts/references/referenced.ts';
import type { Sources } from '../../../src/artifacts/references/sources.ts';
import { createVerifier } from '../../../src/artifacts/references/verifier.ts';
import { openVolumeStore } from '../../../src/artifacts/stores/volume.ts';
import type { Reference, Referred } from '../../../src/domain/reference.ts';
import { bytesOf, digestOfBytes, someBytes } from '../../support/bytes.ts';
import { CA, startFilesServer } from '../../support/files-server.ts';
import { temporaryFolder } from '../../support/folder.ts';

const BYTES = someBytes(300_000);
const OTHER = someBytes(300_000, 7);

/** A server with `BYTES` at a source, and a registry's view of it. `known` is what versions refer to. */
async function referring(etag: string | null = '"one"') {
  const server = await startFilesServer();
  const prefix = `https://127.0.0.1:${server.port}/models/`;
  const source = `${prefix}a.bin`;
  const put = (bytes: Buffer, tag: string | null) => server.files.set('/models/a.bin', { bytes, etag: tag });
  put(BYTES, etag);
  const reader = createHttpsSource(prefix, { ca: CA });
  onTestFinished(() => reader.close?.());
  const sources: Sources = {
    allows: (text) => text.startsWith(prefix),
    find: async (text) => ({ reader, key: text.slice(prefix.length) }),
    close: async () => {},
  };
  const known: Reference[] = [];
  const closing = new AbortController();
  const lookup = (digest: string) => known.filter((reference) => reference.digest === digest);
  const { verify } = createVerifier(sources, lookup, closing.signal);
  const reads = withReferences(await openVolumeStore(await temporaryFolder(), 0), lookup, sources);
  const artifact: Referred = { path: 'a.bin', digest: digestOfBytes(BYTES), size: BYTES.length, source };
  return { server, put, verify, reads, known, artifact, closing };
}

test('verifies the bytes once, and reads them again only if their ETag is another one', async () => {
  const { server, put, verify, known, artifact } = await referring();
  known.push(...(await verify([artifact])));
  expect(known).toMatchObject([{ source: artifact.source, digest: artifact.digest, etag: '"one"' }]);
  server.handlers.set('/models/a.bin', (_, response) => {
    // The body of a file that is not to be read never comes.
    response.writeHead(200, { 'Content-Length': BYTES.length, ETag: '"one"' }).flushHeaders();
  });
  expect(await verify([artifact])).toEqual(known);
  server.handlers.clear();
  put(BYTES, '"two"');
  expect(await verify([artifact])).toMatchObject([{ etag: '"two"' }]);
  put(OTHER, '"three"');
  await expect(verify([artifact])).rejects.toMatchObject({ code: 'checksum-mismatch' });
});

test('reads equal sources once, at the same time', async () => {
  const { server, verify, artifact } = await referring();
  const found = await Promise.all([verify([artifact, { ...artifact, path: 'b.bin' }]), verify([artifact])]);
  expect(found.map((one) => one.length)).toEqual([1, 1]);
  expect(server.requests).toHaveLength(1);
});

test.each<[string, (artifact: Referred) => Referred]>([
  ['digest', (artifact) => ({ ...artifact, digest: digestOfBytes(OTHER) })],
  ['smaller size', (artifact) => ({ ...artifact, size: artifact.size - 1 })],
  ['larger size', (artifact) => ({ ...artifact, size: artifact.size + 1 })],
  ['address', (artifact) => ({ ...artifact, source: artifact.source.replace('a.bin', 'b.bin') })],
])('refuses another %s, without saying what is there', async (_, change) => {
  const { verify, artifact } = await referring();
  const error = await verify([change(artifact)]).catch((thrown) => thrown);
  expect(error).toMatchObject({ code: 'checksum-mismatch' });
  const said = JSON.stringify([error.message, error.fields]);
  expect(said).not.toContain(error.fields.expected === artifact.digest ? String(BYTES.length) : artifact.digest);
});

test('stops at the stated size if a server sends more than it said', async () => {
  const { server, verify, artifact } = await referring();
  let sent = 0;
  server.handlers.set('/models/a.bin', (_, response) => {
    response.writeHead(200, { 'Content-Length': 1e12 });
    const more = () => {
      while (!response.destroyed && response.write(BYTES)) sent += BYTES.length;
    };
    response.on('drain', more);
    more();
  });
  await expect(verify([artifact])).rejects.toMatchObject({ code: 'checksum-mismatch' });
  expect(sent).toBeLessThan(100 * BYTES.length);
});

test('asks nobody about a source that is not allowed, even if another one is', async () => {
  const { server, verify, artifact } = await referring();
  const outside = { ...artifact, source: 'https://files.example/a.bin' };
  await expect(verify([artifact, outside])).rejects.toMatchObject({ code: 'reference-not-allowed' });
  expect(server.connections()).toBe(0);
});

test('ends when the registry closes', async () => {
  const { server, verify, artifact, closing } = await referring();
  server.handlers.set('/models/a.bin', (_, response) => {
    response.writeHead(200, { 'Content-Length': BYTES.length }).flushHeaders();
    closing.abort();
  });
  await expect(verify([artifact])).rejects.toThrow(/abort/i);
});

test('serves the object, and a range of it', async () => {
  const { verify, reads, known, artifact } = await referring();
  known.push(...(await verify([artifact])));
  expect(await reads.stat(artifact.digest)).toMatchObject({ size: BYTES.length });
  expect((await bytesOf(await reads.get(artifact.digest))).equals(BYTES)).toBe(true);
  const part = await bytesOf(await reads.get(artifact.digest, { start: 1000, end: 1999 }));
  expect(part.equals(BYTES.subarray(1000, 2000))).toBe(true);
});

test('goes on after a cut, and never with the bytes of another object', async () => {
  const { server, put, verify, reads, known, artifact } = await referring();
  known.push(...(await verify([artifact])));
  const cutAfter = (bytes: number, then: () => void) =>
    server.handlers.set('/models/a.bin', (_, response) => {
      response.writeHead(200, { 'Content-Length': BYTES.length, ETag: '"one"' });
      response.write(BYTES.subarray(0, bytes), () => response.destroy());
      server.handlers.clear();
      then();
    });
  cutAfter(100_000, () => {});
  expect((await bytesOf(await reads.get(artifact.digest))).equals(BYTES)).toBe(true);
  cutAfter(100_000, () => put(OTHER, '"two"'));
  const reading = reads.get(artifact.digest).then(bytesOf);
  await expect(reading).rejects.toMatchObject({ code: 'reference-changed' });
});

test('an object that was replaced, or is gone, is not there, and reading it says why', async () => {
  const { server, put, verify, reads, known, artifact } = await referring();
  known.push(...(await verify([artifact])));
  const { source } = artifact;
  const check = async (what: RegExp, ranges = [undefined, { start: 0, end: 9 }]) => {
    expect(await reads.stat(artifact.digest)).toBeNull();
    for (const range of ranges) {
      const refused = expect(reads.get(artifact.digest, range)).rejects;
      await refused.toMatchObject({
        code: 'reference-changed',
        fields: { source },
        message: expect.stringMatching(what),
      });
    }
  };
  put(OTHER, '"two"');
  await check(/was replaced/);
  put(BYTES.subarray(1), '"one"');
  await check(/has another size/, [undefined]);
  server.files.clear();
  await check(/is gone/);
  put(BYTES, '"one"');
  expect(await reads.stat(artifact.digest)).toMatchObject({ size: BYTES.length });
});

test('without an ETag, the bytes show that the object was replaced', async () => {
  const { put, verify, reads, known, artifact } = await referring(null);
  known.push(...(await verify([artifact])));
  expect(known).toMatchObject([{ etag: null }]);
  expect((await bytesOf(await reads.get(artifact.digest))).equals(BYTES)).toBe(true);
  put(BYTES.subarray(1), null);
  const range = { start: 0, end: 9 };
  await expect(reads.get(artifact.digest, range)).rejects.toMatchObject({ code: 'reference-changed' });
  put(OTHER, null);
  const reading = reads.get(artifact.digest).then(bytesOf);
  await expect(reading).rejects.toMatchObject({ code: 'reference-changed' });
  await expect(verify([artifact])).rejects.toMatchObject({ code: 'checksum-mismatch' });
});

test('if versions refer to the same bytes at several sources, one that is there is read', async () => {
  const { verify, reads, known, artifact } = await referring();
  known.push(...(await verify([artifact])));
  known.unshift({ ...known[0]!, source: artifact.source.replace('a.bin', 'b.bin') });
  expect(await reads.stat(artifact.digest)).toMatchObject({ size: BYTES.length });
  expect((await bytesOf(await reads.get(artifact.digest))).equals(BYTES)).toBe(true);
});
