import { isSource } from '../../domain/source.ts';
import { parseStoreAddress, type StoreAddress } from '../address.ts';

/** A prefix of sources that the operator allows: an entry of `REGISTRY_REFERENCES`. */
export interface ReferencePrefix {
  /** What a source below it begins with. Ends with `/`, so that it matches whole segments only. */
  text: string;
  /** Where a bucket is and how it is reached; null for `https:`. */
  bucket: BucketAddress | null;
}

export type BucketAddress = Extract<StoreAddress, { kind: 's3' | 'azure' | 'gs' }>;

const FORMS =
  's3://bucket/prefix/, azure://container/prefix/ or gs://bucket/prefix/, each with its parameters, or https://host/path/';

/** @throws {Error} that says what is wrong with it */
export function parseReferencePrefix(given: string): ReferencePrefix {
  const bucket = given.startsWith('https:') ? null : parseBucket(given);
  const text = (bucket ? given.replace(/\?.*$/s, '') : given).replace(/\/?$/, '/');
  if (isSource(`${text}x`)) return { text, bucket };
  throw new Error(`must be ${FORMS}, in its normal form, without credentials, "..", "//" and "#"`);
}

/** @throws {Error} if a prefix is listed twice, since each has its own parameters */
export function parseReferencePrefixes(list: readonly string[]): ReferencePrefix[] {
  const prefixes = list.map(parseReferencePrefix);
  const twice = prefixes.find(({ text }, i) => prefixes.findIndex((other) => other.text === text) < i);
  if (twice) throw new Error(`lists ${twice.text} twice`);
  return prefixes;
}

/** Returns the longest prefix of a source; null if it is outside of all. */
export function prefixOf(prefixes: readonly ReferencePrefix[], source: string): ReferencePrefix | null {
  const matching = prefixes.filter(({ text }) => source.startsWith(text));
  return matching.reduce<ReferencePrefix | null>(
    (best, prefix) => (best && best.text.length >= prefix.text.length ? best : prefix),
    null,
  );
}

function parseBucket(given: string): BucketAddress {
  const address = /^(s3|azure|gs):/.test(given) ? parseStoreAddress(given) : null;
  if (address === null || address.kind === 'file' || address.kind === 'nats') throw new Error(`must be ${FORMS}`);
  return address;
}
