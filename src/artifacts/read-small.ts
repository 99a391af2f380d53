import type { Digest } from '../domain/digest.ts';
import { Problem } from '../domain/errors.ts';
import type { Reads } from './artifacts.ts';

const MAX_BYTES = 1024 * 1024;

/** Reads a blob as text, such as a `metadata.json`; null if it does not exist. @throws {Problem} too-large over 1 MiB */
export async function readSmallBlob(artifacts: Reads, digest: Digest): Promise<string | null> {
  const stat = await artifacts.stat(digest);
  if (!stat) return null;
  if (stat.size > MAX_BYTES) throw new Problem('too-large', `${digest} is larger than ${MAX_BYTES} bytes.`, { digest });
  const chunks: Uint8Array[] = [];
  for await (const chunk of await artifacts.get(digest)) chunks.push(chunk);
  return Buffer.concat(chunks).toString('utf8');
}
