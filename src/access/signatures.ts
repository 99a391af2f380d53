import { createHmac, timingSafeEqual } from 'node:crypto';
import {
  type Dictionary,
  type InnerList,
  isInnerList,
  parseDictionary,
  serializeDictionary,
  serializeInnerList,
  serializeItem,
} from 'structured-headers';
import { z } from 'zod';
import { Problem } from '../domain/errors.ts';
import type { SigningKey } from './signing-key.ts';

/** The parts of a request that a signature can cover, as they are sent. */
export interface Signable {
  method: string;
  /** The path and the query. */
  target: string;
  /** Host and port, without the scheme's default port. */
  authority: string;
  /** By name, in lower case. */
  headers: Record<string, string | string[]>;
}

/** The signature of a request (RFC 9421). */
export interface RequestSignature {
  /** The covered components, and the parameters. */
  input: InnerList;
  bytes: Uint8Array;
  keyid: string;
  nonce: string;
}

const ALGORITHM = 'hmac-sha256';
const TAG = 'signalbox';
const ALWAYS_COVERED = ['@method', '@path', '@query', '@authority'];
const COVERED_OF_BODY = ['content-digest', 'content-type'];
/** Must be covered: adding or removing it would change whether a command is executed. */
const COVERED_IF_SENT = 'idempotency-key';
const MAX_AGE_S = 300;

const Parameters = z.object({
  created: z.int(),
  expires: z.int(),
  // 16 bytes are 22 characters in base64url.
  nonce: z.string().min(22).max(200),
  keyid: z.string(),
  alg: z.literal(ALGORITHM),
  tag: z.literal(TAG),
});

/**
 * Reads the signature of a request and checks its components, parameters and time, but does not verify it (`isSigned`).
 *
 * @throws {Problem} unauthenticated
 */
export function readSignature(headers: Signable['headers'], hasBody: boolean, now: Date): RequestSignature {
  const { input, bytes } = onlySignature(headers);
  const ofBody = hasBody ? COVERED_OF_BODY : [];
  checkCovered(input, [...ALWAYS_COVERED, ...ofBody, ...sent([COVERED_IF_SENT], headers)]);
  const parameters = Parameters.safeParse(Object.fromEntries(input[1]));
  if (!parameters.success) {
    const wrong = parameters.error.issues.map(({ path }) => path.join('.')).join(', ');
    throw refusal(`Parameters that are missing or wrong: ${wrong}.`);
  }
  const { created, expires, keyid, nonce } = parameters.data;
  checkTime(created, expires, now.getTime() / 1000);
  return { input, bytes, keyid, nonce };
}

function onlySignature(headers: Signable['headers']): Pick<RequestSignature, 'input' | 'bytes'> {
  const inputs = dictionaryOf(headers['signature-input']);
  const signatures = dictionaryOf(headers.signature);
  const [[name, input] = []] = inputs;
  if (inputs.size !== 1 || signatures.size !== 1 || name === undefined) throw refusal('Send exactly one.');
  const [bytes] = signatures.get(name) ?? [];
  if (!input || !isInnerList(input) || !(bytes instanceof ArrayBuffer)) throw refusal('Its headers do not match.');
  return { input, bytes: new Uint8Array(bytes) };
}

function dictionaryOf(header: string | string[] | undefined): Dictionary {
  try {
    return parseDictionary(String(header ?? ''));
  } catch (cause) {
    throw refusal('Its headers cannot be parsed.', cause);
  }
}

function checkCovered([components]: InnerList, required: string[]): void {
  const covered = components.map(([name, parameters]) => (parameters.size === 0 ? name : null));
  const known = covered.every((name) => typeof name === 'string' && isKnown(name));
  // A duplicate component, or one with a parameter, is ambiguous: another implementation may read it differently.
  const unique = new Set(covered).size === covered.length;
  if (!known || !unique) throw refusal('It covers a component that is unknown, duplicate or has parameters.');
  const missing = required.filter((name) => !covered.includes(name));
  if (missing.length > 0) throw refusal(`It does not cover ${missing.join(', ')}.`);
}

function isKnown(component: string): boolean {
  return !component.startsWith('@') || ALWAYS_COVERED.includes(component);
}

function sent(names: string[], headers: Signable['headers']): string[] {
  return names.filter((name) => headers[name] !== undefined);
}

function checkTime(created: number, expires: number, now: number): void {
  if (Math.abs(now - created) > MAX_AGE_S) {
    throw refusal(`Its creation time differs by more than ${MAX_AGE_S} s from the registry’s clock. Check your clock.`);
  }
  if (expires - created > MAX_AGE_S) throw refusal(`It must expire within ${MAX_AGE_S} s of its creation.`);
  if (now > expires) throw refusal('It has expired.');
}

/** Whether the request was signed with this secret. */
export function isSigned(
  request: Signable,
  { input, bytes }: Pick<RequestSignature, 'input' | 'bytes'>,
  secret: Uint8Array,
) {
  const expected = signatureOf(request, input, secret);
  return bytes.length === expected.length && timingSafeEqual(bytes, expected);
}

/** Returns the headers that sign a request. A request with a body must already have `content-digest` and `content-type`. */
export function signRequest(
  request: Signable,
  { id, secret }: SigningKey,
  { now, nonce }: { now: Date; nonce: string },
): Record<string, string> {
  const created = Math.floor(now.getTime() / 1000);
  const covered = [...ALWAYS_COVERED, ...sent([...COVERED_OF_BODY, COVERED_IF_SENT], request.headers)];
  const parameters = { created, expires: created + MAX_AGE_S, nonce, keyid: id, alg: ALGORITHM, tag: TAG };
  const input: InnerList = [covered.map((name) => [name, new Map()]), new Map(Object.entries(parameters))];
  return {
    'Signature-Input': serializeDictionary({ sig: input }),
    Signature: serializeDictionary({ sig: [signatureOf(request, input, secret), new Map()] }),
  };
}

/** @throws {Problem} unauthenticated if a covered header is missing */
function signatureOf(request: Signable, input: InnerList, secret: Uint8Array): Uint8Array {
  return createHmac('sha256', secret).update(signatureBase(request, input)).digest();
}

/** Returns the signed text (RFC 9421, section 2.5): a line for each component, and one for the list of components. */
function signatureBase(request: Signable, input: InnerList): string {
  const lines = input[0].map((item) => `${serializeItem(item)}: ${componentOf(request, String(item[0]))}`);
  return [...lines, `"@signature-params": ${serializeInnerList(input)}`].join('\n');
}

/** Uses the target as it was sent: a parsed URL may be normalized. */
function componentOf({ method, target, authority, headers }: Signable, name: string): string {
  const [path] = target.split('?', 1) as [string];
  switch (name) {
    case '@method':
      return method;
    case '@path':
      return path;
    case '@query':
      return target.slice(path.length) || '?';
    case '@authority':
      return authority;
  }
  if (!Object.hasOwn(headers, name)) throw refusal(`It covers ${name}, which the request does not have.`);
  return [headers[name]!]
    .flat()
    .map((value) => value.trim())
    .join(', ');
}

function refusal(why: string, cause?: unknown): Problem {
  return new Problem('unauthenticated', `The signature is not valid. ${why}`, {}, cause);
}
