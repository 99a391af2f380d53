import { createHmac } from 'node:crypto';
import { type InnerList, parseDictionary } from 'structured-headers';
import { describe, expect, it } from 'vitest';
import { isSigned, readSignature, type Signable, signRequest } from '../../src/access/signatures.ts';
import { newSigningKey, parseSigningKey, signingSecret } from '../../src/access/signing-key.ts';

const REGISTRY_SECRET = Buffer.alloc(32, 7);
const KEY = parseSigningKey(newSigningKey(REGISTRY_SECRET).key)!;
const NOW = new Date('2026-03-03T14:05:00Z');
const NONCE = 'AAAAAAAAAAAAAAAAAAAAAA';

const REQUEST: Signable = {
  method: 'POST',
  target: '/api/registry/models?x=1&y=%2f',
  authority: 'registry.example:8080',
  headers: {
    'content-type': 'application/json',
    'content-digest': 'sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:',
  },
};

const signed = (request = REQUEST, now = NOW) =>
  withSignature(request, signRequest(request, KEY, { now, nonce: NONCE }));

function withSignature(request: Signable, signature: Record<string, string>): Signable {
  const lower = Object.entries(signature).map(([name, value]) => [name.toLowerCase(), value]);
  return { ...request, headers: { ...request.headers, ...Object.fromEntries(lower) } };
}

const verified = (request: Signable, now = NOW) => {
  const signature = readSignature(request.headers, true, now);
  return isSigned(request, signature, signingSecret(REGISTRY_SECRET, signature.keyid));
};

/** Returns the signed request with a changed Signature-Input. */
function altered(change: (input: string) => string): Signable {
  const request = signed();
  return {
    ...request,
    headers: { ...request.headers, 'signature-input': change(String(request.headers['signature-input'])) },
  };
}

/** The example of RFC 9421, appendix B.2.5. */
const RFC: Signable = {
  method: 'POST',
  target: '/foo?param=Value&Pet=dog',
  authority: 'example.com',
  headers: { host: 'example.com', date: 'Tue, 20 Apr 2021 02:07:55 GMT', 'content-type': 'application/json' },
};
const RFC_SECRET = Buffer.from(
  'uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ==',
  'base64',
);
const RFC_INPUT = '("date" "@authority" "content-type");created=1618884473;keyid="test-shared-secret"';
const RFC_SIGNATURE = 'pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8=';

describe('the example of RFC 9421', () => {
  it('is verified', () => {
    const input = parseDictionary(`sig-b25=${RFC_INPUT}`).get('sig-b25') as InnerList;
    const bytes = Buffer.from(RFC_SIGNATURE, 'base64');
    expect(isSigned(RFC, { input, bytes }, RFC_SECRET)).toBe(true);
    const later = { ...RFC, headers: { ...RFC.headers, date: 'Tue, 20 Apr 2021 02:07:56 GMT' } };
    expect(isSigned(later, { input, bytes }, RFC_SECRET)).toBe(false);
  });
});

describe('a signature', () => {
  it('is verified for the request as it was sent', () => expect(verified(signed())).toBe(true));

  it('signs the text of RFC 9421, section 2.5', () => {
    const request = signed({ ...REQUEST, headers: { ...REQUEST.headers, 'idempotency-key': ' k ' } });
    const parameters = `created=1772546700;expires=1772547000;nonce="${NONCE}";keyid="${KEY.id}";alg="hmac-sha256";tag="signalbox"`;
    const covered = '("@method" "@path" "@query" "@authority" "content-digest" "content-type" "idempotency-key")';
    const base = [
      '"@method": POST',
      '"@path": /api/registry/models',
      '"@query": ?x=1&y=%2f',
      '"@authority": registry.example:8080',
      `"content-digest": ${REQUEST.headers['content-digest']}`,
      '"content-type": application/json',
      '"idempotency-key": k',
      `"@signature-params": ${covered};${parameters}`,
    ].join('\n');
    expect(request.headers).toMatchObject({
      'signature-input': `sig=${covered};${parameters}`,
      signature: `sig=:${createHmac('sha256', KEY.secret).update(base).digest('base64')}:`,
    });
  });

  it('of a request without a body does not cover a body', () => {
    const request = signed({ ...REQUEST, headers: {} });
    const signature = readSignature(request.headers, false, NOW);
    expect(isSigned(request, signature, KEY.secret)).toBe(true);
    expect(() => readSignature(request.headers, true, NOW)).toThrow('does not cover content-digest, content-type');
  });

  it.each<[string, Partial<Signable>]>([
    ['method', { method: 'PUT' }],
    ['path', { target: '/api/registry/Models?x=1&y=%2f' }],
    ['spelling of the path', { target: '/api//registry/models?x=1&y=%2f' }],
    ['query', { target: '/api/registry/models?x=2&y=%2f' }],
    ['spelling of the query', { target: '/api/registry/models?x=1&y=%2F' }],
    ['query, which is missing', { target: '/api/registry/models' }],
    ['host', { authority: 'other.example:8080' }],
    ['port', { authority: 'registry.example' }],
  ])('is invalid for another %s', (_, other) => expect(verified({ ...signed(), ...other })).toBe(false));

  it.each(['content-type', 'content-digest'])('is invalid for another %s', (name) => {
    const request = signed();
    expect(verified({ ...request, headers: { ...request.headers, [name]: 'text/plain' } })).toBe(false);
    const { [name]: _, ...without } = request.headers;
    expect(() => verified({ ...request, headers: without })).toThrow('which the request does not have');
  });

  it('covers an Idempotency-Key, so it cannot be added, removed or altered', () => {
    const withKey = (request: Signable, key: string) => ({
      ...request,
      headers: { ...request.headers, 'idempotency-key': key },
    });
    expect(() => verified(withKey(signed(), 'k'))).toThrow('does not cover idempotency-key');
    const request = signed(withKey(REQUEST, 'k'));
    expect(verified(request)).toBe(true);
    expect(verified(withKey(request, 'j'))).toBe(false);
    const { 'idempotency-key': _, ...without } = request.headers;
    expect(() => verified({ ...request, headers: without })).toThrow('which the request does not have');
  });

  it('is invalid with another key', () => {
    const signature = readSignature(signed().headers, true, NOW);
    expect(isSigned(signed(), signature, signingSecret(REGISTRY_SECRET, '0'.repeat(12)))).toBe(false);
    expect(isSigned(signed(), signature, signingSecret(Buffer.alloc(32, 8), KEY.id))).toBe(false);
    expect(isSigned(signed(), { ...signature, bytes: signature.bytes.subarray(1) }, KEY.secret)).toBe(false);
  });

  it.each(['@method', '@path', '@query', '@authority', 'content-digest', 'content-type'])('must cover %s', (name) => {
    expect(() => verified(altered((input) => input.replace(`"${name}"`, '"x-other"')))).toThrow(
      `does not cover ${name}`,
    );
    expect(() => verified(altered((input) => input.replace(`"${name}"`, `"${name}";req`)))).toThrow('has parameters');
    expect(() => verified(altered((input) => input.replace(`"${name}"`, `"${name}" "${name}"`)))).toThrow('duplicate');
  });

  it.each([
    ['created', /;created=\d+/],
    ['expires', /;expires=\d+/],
    ['nonce', /;nonce="[^"]*"/],
    ['keyid', /;keyid="[^"]*"/],
    ['alg', /;alg="[^"]*"/],
    ['tag', /;tag="[^"]*"/],
  ])('must have the parameter %s', (name, parameter) => {
    expect(() => verified(altered((input) => input.replace(parameter, '')))).toThrow(`missing or wrong: ${name}.`);
    expect(() => verified(altered((input) => input.replace(parameter, `;${name}=?1`)))).toThrow(`wrong: ${name}.`);
  });

  it.each([
    ['another algorithm', (input: string) => input.replace('hmac-sha256', 'rsa-v1_5-sha256'), 'alg'],
    ['a short nonce', (input: string) => input.replace(NONCE, 'once'), 'nonce'],
    ['another tag', (input: string) => input.replace('"signalbox"', '"signalBox"'), 'tag'],
    ['a value that is not a list', () => 'sig="x"', 'do not match'],
    ['invalid syntax', () => 'sig=("@method', 'cannot be parsed'],
    ['another label', (input: string) => input.replace('sig=', 'other='), 'do not match'],
    ['a second one', (input: string) => `${input}, two=("@method")`, 'exactly one'],
    ['an empty header', () => '', 'exactly one'],
    ['an unknown component', (input: string) => input.replace('"@method"', '"@method" "@status"'), 'unknown'],
  ])('is refused with %s', (_, change, why) => expect(() => verified(altered(change))).toThrow(why));

  it('is accepted from five minutes before to five minutes after its creation', () => {
    const at = (seconds: number) => new Date(NOW.getTime() + seconds * 1000);
    expect(verified(signed(REQUEST, at(-300)))).toBe(true);
    expect(verified(signed(REQUEST, at(300)))).toBe(true);
    for (const seconds of [-301, 301, -600, 600]) {
      expect(() => verified(signed(REQUEST, at(seconds)))).toThrow('more than 300 s from the registry’s clock');
    }
    const until = (change: number) =>
      altered((input) => input.replace(/expires=(\d+)/, (_, at) => `expires=${Number(at) + change}`));
    expect(() => verified(until(1))).toThrow('within 300 s of its creation');
    expect(() => verified(until(-301))).toThrow('expired');
  });

  it('is refused if any of its characters is altered', () => {
    const request = signed();
    for (const name of ['signature', 'signature-input']) {
      const text = String(request.headers[name]);
      for (let i = 0; i < text.length; i++) {
        // The last base64 character of a signature has two unused bits: `w` and `x` are equal there.
        const other = text.slice(0, i) + (text[i] === 'A' ? 'x' : 'A') + text.slice(i + 1);
        const changed = { ...request, headers: { ...request.headers, [name]: other } };
        expect(
          holds(() => verified(changed)),
          `${name} ${i}`,
        ).toBe(false);
      }
    }
  });
});

function holds(check: () => boolean): boolean {
  try {
    return check();
  } catch {
    return false;
  }
}

describe('a signing key', () => {
  it('has the secret that servers derive', () => {
    expect(Buffer.from(signingSecret(REGISTRY_SECRET, KEY.id))).toEqual(KEY.secret);
  });

  it.each(['', 'sbs_', 'sbk_0123456789ab_'.padEnd(60, 'A'), `sbs_${'0'.repeat(12)}_${'A'.repeat(42)}`])(
    'is not %j',
    (text) => expect(parseSigningKey(text)).toBe(null),
  );
});
