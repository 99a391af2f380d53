import { createPrivateKey, createPublicKey } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { CompactSign } from 'jose';
import { describe, expect, test } from 'vitest';
import { applyMessage, emptyRegistry } from '../../src/projections/registry.ts';
import { emptyChain, findingsOf, follow } from '../../src/proof/chain.ts';
import { type Checked, checkLog } from '../../src/proof/check.ts';
import { type Checkpoint, checkpointOf, signCheckpoint, verifyCheckpoint } from '../../src/proof/checkpoint.ts';
import { generateKeyPair, readPrivateKey, readPublicKey, thumbprintOf } from '../../src/proof/checkpoint-key.ts';
import { HistoryBroken, type RawMessage } from '../../src/proof/source.ts';
import { foreign, NOW, shortLog } from '../audit/logs.ts';
import { altered, commands, renumbered, written } from '../audit/support.ts';
import { temporaryFolder } from '../support/folder.ts';
import { sourceOf } from '../support/logbook.ts';

function checkpointAt(messages: RawMessage[], revision = messages.length, generation = 0): Checkpoint {
  const chain = emptyChain(generation);
  for (const message of messages.slice(0, revision)) follow(chain, message);
  return checkpointOf(chain, NOW);
}

describe('the signature', () => {
  const { privatePem, publicPem } = generateKeyPair();
  const [key, publicKey] = [createPrivateKey(privatePem), createPublicKey(publicPem)];
  const checkpoint = checkpointAt(shortLog());

  test('is verified with the other half of the key', async () => {
    const jws = await signCheckpoint(checkpoint, key);
    expect(await verifyCheckpoint(jws, publicKey)).toEqual(checkpoint);
    expect(JSON.parse(Buffer.from(jws.split('.')[0]!, 'base64url').toString())).toEqual({
      alg: 'EdDSA',
      typ: 'signalbox-checkpoint+jws',
      kid: await thumbprintOf(publicKey),
    });
  });

  const tampered: [string, (parts: string[]) => string | Promise<string>, string][] = [
    ['other words', ([head, , tail]) => [head, encoded({ ...checkpoint, revision: 6 }), tail].join('.'), 'altered'],
    [
      'a signature of other words',
      ([head, body, tail]) => [head, body, tail!.replace(/^./, flip)].join('.'),
      'altered',
    ],
    [
      'no signature',
      ([, body]) => [encoded({ alg: 'none', typ: 'signalbox-checkpoint+jws' }), body, ''].join('.'),
      'key',
    ],
    ['another key', async () => signCheckpoint(checkpoint, createPrivateKey(generateKeyPair().privatePem)), 'the key'],
    ['a token of another kind', async () => signedAs('JWT', checkpoint), 'no checkpoint'],
    [
      'more than a checkpoint',
      async () => signedAs('signalbox-checkpoint+jws', { ...checkpoint, more: 1 }),
      'another format',
    ],
    ['no JWS', () => 'hello', 'no checkpoint'],
    ['nothing', () => '', 'no checkpoint'],
  ];

  test.each(tampered)('does not fit %s', async (_, tamper, said) => {
    const jws = await tamper((await signCheckpoint(checkpoint, key)).split('.'));
    const failure = await verifyCheckpoint(jws, publicKey).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(HistoryBroken);
    expect((failure as Error).message).toContain(said);
  });

  async function signedAs(typ: string, payload: object): Promise<string> {
    const signing = new CompactSign(Buffer.from(JSON.stringify(payload)));
    return signing.setProtectedHeader({ alg: 'EdDSA', typ, kid: await thumbprintOf(key) }).sign(key);
  }

  test('takes keys from PEM files, and refuses what is none', async () => {
    const folder = await temporaryFolder();
    const written = async (name: string, text: string) => {
      await writeFile(join(folder, name), text);
      return join(folder, name);
    };
    const [secret, open] = [await written('a.pem', privatePem), await written('b.pem', publicPem)];
    const jws = await signCheckpoint(checkpoint, await readPrivateKey(secret));
    for (const path of [secret, open])
      expect(await verifyCheckpoint(jws, await readPublicKey(path))).toEqual(checkpoint);
    await expect(readPrivateKey(open)).rejects.toThrow('has no private key in PEM');
    await expect(readPublicKey(await written('c.pem', 'hello'))).rejects.toThrow('has no public key in PEM');
    await expect(readPublicKey(join(folder, 'missing'))).rejects.toThrow('ENOENT');
  });
});

const encoded = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
const flip = (letter: string) => (letter === 'A' ? 'B' : 'A');

describe('a log that is held against a checkpoint', () => {
  const log = shortLog();
  const check = async (messages: RawMessage[], was = checkpointAt(log), generation = 0) =>
    checkLog({ ...sourceOf(messages), generation }, [{ name: 'kept', checkpoint: was }]);
  const whyOf = ({ verdicts }: Checked) => verdicts[0]!.why;

  test('agrees when it is the same, or went on', async () => {
    for (let revision = 0; revision <= log.length; revision++) {
      const checked = await check(log, checkpointAt(log, revision));
      expect([whyOf(checked), findingsOf(checked.chain)]).toEqual([null, []]);
    }
  });

  test('agrees when it was restored since', async () => {
    expect(whyOf(await check(log, checkpointAt(log), 1))).toBeNull();
  });

  /** The same events, each with the hash of what is now before it. */
  const rewritten = (messages: RawMessage[]) => rechained(renumbered(messages));
  const refusals: [string, RawMessage[], string | RegExp][] = [
    ['lost its tail', log.slice(0, 5), 'it has lost everything after revision 5'],
    ['is empty', [], 'it has lost everything after revision 0'],
    ['is another one', rewritten(log.slice(1)), 'it begins otherwise'],
    ['was made anew under the same name', [foreign(1, '{}'), ...log.slice(1)], 'it begins otherwise'],
    ['had its head altered', log.with(6, altered(log[6]!, other)), 'was rewritten: events up to revision 7'],
    ['had its middle altered and the rest rewritten', rechained(log.with(3, altered(log[3]!, other))), 'was rewritten'],
    ['lacks its middle and was rewritten', [...rewritten(log.toSpliced(4, 1)), log[6]!], 'was rewritten'],
  ];

  test.each(refusals)('is refused when it %s', async (_, messages, why) => {
    expect(whyOf(await check(messages))).toMatch(why);
  });

  test('is refused when it is of a lower generation', async () => {
    expect(whyOf(await check(log, checkpointAt(log, 7, 2), 1))).toContain('older than 2');
  });

  test('is refused when events of different models changed places, which no chain tells', async () => {
    const { verdicts, chain } = await check(renumbered(log.with(1, log[2]!).with(2, log[1]!)));
    expect([verdicts[0]!.why, findingsOf(chain)]).toEqual([expect.stringContaining('was rewritten'), []]);
  });

  const breaks: [string, RawMessage[], string[]][] = [
    ['an altered middle', log.with(3, altered(log[3]!, other)), ['The chain of fraud breaks at revision 5']],
    [
      'revisions taken out',
      log.toSpliced(2, 2),
      ['Revisions 3 to 4 are missing', 'The chain of fraud breaks at revision 5'],
    ],
    ['a missing middle', renumbered(log.toSpliced(3, 1)), ['The chain of fraud breaks at revision 4']],
    [
      'two events swapped',
      renumbered(log.with(2, log[3]!).with(3, log[2]!)),
      ['The chain of fraud breaks at revision 3'],
    ],
    [
      'a raw message',
      log.toSpliced(7, 0, foreign(8, 'hello')),
      ['The chain of fraud breaks at revision 8: it is no event'],
    ],
    ['bytes that are no text', [foreign(1, Buffer.from([0xff]))], ['breaks at revision 1: it is no event']],
    [
      'a raw event',
      [...log, foreign(8, '{"prevhash":"00"}', 'new')],
      ['The chain of new breaks at revision 8: it should be'],
    ],
  ];

  test.each(breaks)('is not whole with %s', async (_, messages, findings) => {
    const { chain } = await check(messages);
    expect(findingsOf(chain)).toEqual(findings.map((text) => expect.stringContaining(text)));
  });

  test('is not whole where its newest revisions were taken out', async () => {
    const { verdicts, chain } = await checkLog(sourceOf(log.slice(0, 5), 7), []);
    expect([verdicts, findingsOf(chain)]).toEqual([[], [expect.stringContaining('Revisions 6 to 7 are missing')]]);
  });

  test('says since when it differs, if several checkpoints were kept', async () => {
    const kept = [7, 2, 4].map((revision) => ({ name: `${revision}`, checkpoint: checkpointAt(log, revision) }));
    const { verdicts } = await checkLog(sourceOf(rechained(log.with(4, altered(log[4]!, other)))), kept);
    expect(verdicts.map(({ name, why }) => [name, why])).toEqual([
      ['2', null],
      ['4', null],
      ['7', expect.stringContaining('after revision 4, where another checkpoint agrees')],
    ]);
  });
});

function other(event: Record<string, unknown>): void {
  event.actor = 'mallory';
}

function rechained(messages: RawMessage[]): RawMessage[] {
  const chain = emptyChain(0);
  return messages.map((message) => {
    const model = message.subject.split('.').at(-1)!;
    const prevhash = chain.heads.get(model)?.hash ?? '0'.repeat(64);
    const fitting = altered(message, (event) => {
      event.prevhash = prevhash;
    });
    follow(chain, fitting);
    return fitting;
  });
}

test('the registry states of its fold what is stated of the raw log', () => {
  const junk = fc.array(
    fc.tuple(fc.nat(60), fc.constantFrom('hello', '{}', '\u0000'), fc.constantFrom('fraud', 'Odd')),
  );
  fc.assert(
    fc.property(commands, junk, (given, strewn) => {
      const events = written(given).messages;
      const messages = strewn.reduce((all, [at, body, model]) => all.toSpliced(at, 0, foreign(0, body, model)), events);
      const registry = emptyRegistry(3);
      const chain = emptyChain(3);
      for (const message of renumbered(messages)) {
        applyMessage(registry, { ...message, model: message.subject.split('.').at(-1)! });
        follow(chain, message);
        const heads = new Map([...registry.models].map(([name, { last }]) => [name, last]));
        expect(checkpointOf({ ...registry.position, heads, order: registry.order }, NOW)).toEqual(
          checkpointOf(chain, NOW),
        );
      }
    }),
    { numRuns: 30 },
  );
});
