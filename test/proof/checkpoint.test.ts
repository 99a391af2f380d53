import { createPrivateKey, createPublicKey } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { CompactSign } from 'jose';
import { describe, expect, test } from 'vitest';
import { headsOf } from '../../src/projections/read-model/models.ts';
import { addMessage, emptyChain, findingsOf } from '../../src/proof/chain.ts';
import { type CheckResult, checkLog } from '../../src/proof/check.ts';
import { type Checkpoint, checkpointOf, signCheckpoint, verifyCheckpoint } from '../../src/proof/checkpoint.ts';
import { generateKeyPair, readPrivateKey, readPublicKey, thumbprintOf } from '../../src/proof/checkpoint-key.ts';
import { HistoryBroken, type RawMessage } from '../../src/proof/source.ts';
import { foreign, NOW, shortLog } from '../audit/logs.ts';
import { altered, commands, renumbered, written } from '../audit/support.ts';
import { temporaryFolder } from '../support/folder.ts';
import { sourceOf } from '../support/logbook.ts';
import { newReadModel } from '../support/read-model.ts';

function checkpointAt(messages: RawMessage[], revision = messages.length, generation = 0): Checkpoint {
  const chain = emptyChain(generation);
  for (const message of messages.slice(0, revision)) addMessage(chain, message);
  return checkpointOf(chain, NOW);
}

describe('the signature', () => {
  const { privatePem, publicPem } = generateKeyPair();
  const [key, publicKey] = [createPrivateKey(privatePem), createPublicKey(publicPem)];
  const checkpoint = checkpointAt(shortLog());

  test('is verified with the public key', async () => {
    const jws = await signCheckpoint(checkpoint, key);
    expect(await verifyCheckpoint(jws, publicKey)).toEqual(checkpoint);
    expect(JSON.parse(Buffer.from(jws.split('.')[0]!, 'base64url').toString())).toEqual({
      alg: 'EdDSA',
      typ: 'signalbox-checkpoint+jws',
      kid: await thumbprintOf(publicKey),
    });
  });

  const tampered: [string, (parts: string[]) => string | Promise<string>, string][] = [
    [
      'an altered payload',
      ([head, , tail]) => [head, encoded({ ...checkpoint, revision: 6 }), tail].join('.'),
      'altered',
    ],
    ['an altered signature', ([head, body, tail]) => [head, body, tail!.replace(/^./, flip)].join('.'), 'altered'],
    [
      'no signature',
      ([, body]) => [encoded({ alg: 'none', typ: 'signalbox-checkpoint+jws' }), body, ''].join('.'),
      'key',
    ],
    ['another key', async () => signCheckpoint(checkpoint, createPrivateKey(generateKeyPair().privatePem)), 'the key'],
    ['a JWS of another type', async () => signedAs('JWT', checkpoint), 'not a checkpoint'],
    [
      'an unknown field',
      async () => signedAs('signalbox-checkpoint+jws', { ...checkpoint, more: 1 }),
      'its format is unknown',
    ],
    ['no JWS', () => 'hello', 'not a checkpoint'],
    ['an empty file', () => '', 'not a checkpoint'],
  ];

  test.each(tampered)('is refused with %s', async (_, tamper, message) => {
    const jws = await tamper((await signCheckpoint(checkpoint, key)).split('.'));
    const failure = await verifyCheckpoint(jws, publicKey).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(HistoryBroken);
    expect((failure as Error).message).toContain(message);
  });

  async function signedAs(typ: string, payload: object): Promise<string> {
    const signing = new CompactSign(Buffer.from(JSON.stringify(payload)));
    return signing.setProtectedHeader({ alg: 'EdDSA', typ, kid: await thumbprintOf(key) }).sign(key);
  }

  test('reads keys from PEM files, and refuses other files', async () => {
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

describe('a log that is compared with a checkpoint', () => {
  const log = shortLog();
  const check = async (messages: RawMessage[], was = checkpointAt(log), generation = 0) =>
    checkLog({ ...sourceOf(messages), generation }, [{ name: 'kept', checkpoint: was }]);
  const whyOf = ({ verdicts }: CheckResult) => verdicts[0]!.why;

  test('agrees if it is unchanged or has more events', async () => {
    for (let revision = 0; revision <= log.length; revision++) {
      const result = await check(log, checkpointAt(log, revision));
      expect([whyOf(result), findingsOf(result.chain)]).toEqual([null, []]);
    }
  });

  test('agrees if it was restored since', async () => {
    expect(whyOf(await check(log, checkpointAt(log), 1))).toBeNull();
  });

  /** The same events, each with the prevhash of the event that is now before it. */
  const rewritten = (messages: RawMessage[]) => rechained(renumbered(messages));
  const refusals: [string, RawMessage[], string | RegExp][] = [
    ['lost its tail', log.slice(0, 5), 'everything after revision 5 is missing'],
    ['is empty', [], 'everything after revision 0 is missing'],
    ['is another log', rewritten(log.slice(1)), 'its first event differs'],
    ['was recreated', [foreign(1, '{}'), ...log.slice(1)], 'its first event differs'],
    ['had its head altered', log.with(6, altered(log[6]!, other)), 'rewritten between its first event and revision 7'],
    ['had its middle altered and the rest rewritten', rechained(log.with(3, altered(log[3]!, other))), 'was rewritten'],
    ['lacks its middle and was rewritten', [...rewritten(log.toSpliced(4, 1)), log[6]!], 'was rewritten'],
  ];

  test.each(refusals)('is refused if it %s', async (_, messages, why) => {
    expect(whyOf(await check(messages))).toMatch(why);
  });

  test('is refused if it has a lower generation', async () => {
    expect(whyOf(await check(log, checkpointAt(log, 7, 2), 1))).toContain('lower than 2');
  });

  test('is refused if events of different models changed places, although each chain is intact', async () => {
    const { verdicts, chain } = await check(renumbered(log.with(1, log[2]!).with(2, log[1]!)));
    expect([verdicts[0]!.why, findingsOf(chain)]).toEqual([expect.stringContaining('was rewritten'), []]);
  });

  const breaks: [string, RawMessage[], string[]][] = [
    ['an altered middle', log.with(3, altered(log[3]!, other)), ['The chain of fraud breaks at revision 5']],
    [
      'removed revisions',
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
      ['The chain of fraud breaks at revision 8: it is not an event'],
    ],
    ['bytes that are not UTF-8', [foreign(1, Buffer.from([0xff]))], ['breaks at revision 1: it is not an event']],
    [
      'a raw event',
      [...log, foreign(8, '{"prevhash":"00"}', 'new')],
      ['The chain of new breaks at revision 8: it should be'],
    ],
  ];

  test.each(breaks)('has findings with %s', async (_, messages, findings) => {
    const { chain } = await check(messages);
    expect(findingsOf(chain)).toEqual(findings.map((text) => expect.stringContaining(text)));
  });

  test('has a finding if its newest revisions were removed', async () => {
    const { verdicts, chain } = await checkLog(sourceOf(log.slice(0, 5), 7), []);
    expect([verdicts, findingsOf(chain)]).toEqual([[], [expect.stringContaining('Revisions 6 to 7 are missing')]]);
  });

  test('is refused with the revision of the last checkpoint that agrees, if there are several', async () => {
    const kept = [7, 2, 4].map((revision) => ({ name: `${revision}`, checkpoint: checkpointAt(log, revision) }));
    const { verdicts } = await checkLog(sourceOf(rechained(log.with(4, altered(log[4]!, other)))), kept);
    expect(verdicts.map(({ name, why }) => [name, why])).toEqual([
      ['2', null],
      ['4', null],
      ['7', 'the log was rewritten between revision 4, where another checkpoint agrees, and revision 7'],
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
    addMessage(chain, fitting);
    return fitting;
  });
}

test('the checkpoint of the registry’s fold equals the checkpoint of the raw log', () => {
  const junk = fc.array(
    fc.tuple(fc.nat(60), fc.constantFrom('hello', '{}', '\u0000'), fc.constantFrom('fraud', 'Odd')),
  );
  fc.assert(
    fc.property(commands, junk, (given, strewn) => {
      const events = written(given).messages;
      const messages = strewn.reduce((all, [at, body, model]) => all.toSpliced(at, 0, foreign(0, body, model)), events);
      const readModel = newReadModel(3);
      const chain = emptyChain(3);
      for (const message of renumbered(messages)) {
        readModel.fold({ ...message, model: message.subject.split('.').at(-1)! });
        addMessage(chain, message);
        readModel.commit();
        const state = { ...readModel.position, heads: headsOf(readModel.db), order: () => readModel.orderDigest() };
        expect(checkpointOf(state, NOW)).toEqual(checkpointOf(chain, NOW));
      }
    }),
    { numRuns: 30 },
  );
});
