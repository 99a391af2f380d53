import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { replayLog } from '../../src/audit/replay.ts';
import { modelOf } from '../../src/log/stream.ts';
import type { RawMessage } from '../../src/proof/source.ts';
import { sourceOf } from '../support/logbook.ts';
import { newReadModel } from '../support/read-model.ts';
import { altered, commands, renumbered, replayed, written } from './support.ts';

const RUNS = { numRuns: 60 };

test('the replay agrees with the registry’s fold at every revision, without findings', async () => {
  await fc.assert(
    fc.asyncProperty(commands, async (given) => {
      const { messages, answers } = written(given);
      for (let revision = 0; revision <= messages.length; revision++) {
        const replay = await replayLog(sourceOf(messages), { moment: { revision } });
        expect(replay.findings).toEqual([]);
        expect(replayed(replay)).toEqual(answers[revision]);
      }
    }),
    RUNS,
  );
});

test('the replay at a time has every event up to that time', async () => {
  await fc.assert(
    fc.asyncProperty(commands, fc.nat(), async (given, pick) => {
      const { messages, answers } = written(given);
      fc.pre(messages.length > 0);
      // Both models use one clock here, so the events up to a time are a prefix of the log.
      const time = timeOf(messages[pick % messages.length]!);
      const last = messages.findLastIndex((message) => timeOf(message) <= time);
      const replay = await replayLog(sourceOf(messages), { moment: { at: Date.parse(time) } });
      expect(replayed(replay)).toEqual(answers[last + 1]);
    }),
    RUNS,
  );
});

/** Ways to tamper with a log: each returns the messages afterwards, and the revision of the first finding. */
const tampering = {
  'an altered body': (messages, i) => {
    const forged = altered(messages[i]!, (event) => {
      event.actor = 'mallory';
    });
    return [messages.with(i, forged), nextOf(messages, i)];
  },
  'a changed byte': (messages, i) => {
    const body = Buffer.from(messages[i]!.body);
    body[i % body.length]! ^= 1;
    return [messages.with(i, { ...messages[i]!, body }), null];
  },
  'a removed body': (messages, i) => {
    const found = i === messages.length - 1 ? undefined : messages[i]!.revision;
    return [messages.toSpliced(i, 1), found];
  },
  // If the other model refers to a revision that has moved, the finding comes before the break of the chain.
  'a removed body in a renumbered log': (messages, i) => [renumbered(messages.toSpliced(i, 1)), null],
  'a duplicated body': (messages, i) => {
    return [renumbered(messages.toSpliced(i, 0, messages[i]!)), i + 2];
  },
  'two bodies swapped': (messages, i) => {
    const next = nextOf(messages, i);
    if (next === undefined) return [messages, undefined];
    const [a, b] = [messages[i]!, messages[next - 1]!];
    return [messages.with(i, { ...a, body: b.body }).with(next - 1, { ...b, body: a.body }), a.revision];
  },
  'a body under the subject of another model': (messages, i) => {
    const subject = 'registry.models.other';
    return [messages.with(i, { ...messages[i]!, subject }), messages[i]!.revision];
  },
  'a foreign raw message': (messages, i) => {
    const foreign = { ...messages[i]!, body: Buffer.from('hello') };
    return [renumbered(messages.toSpliced(i, 0, foreign)), i + 1];
  },
  'a foreign raw message that is not UTF-8': (messages, i) => {
    const foreign = { ...messages[i]!, body: Buffer.from([0xff, 0xfe]) };
    return [renumbered(messages.toSpliced(i, 0, foreign)), i + 1];
  },
  'an unknown type': (messages, i) => {
    const unknown = altered(messages[i]!, (event) => {
      event.type = 'signalbox.version.praised.v1';
    });
    return [messages.with(i, unknown), messages[i]!.revision];
  },
} satisfies Record<string, (messages: RawMessage[], i: number) => [RawMessage[], number | null | undefined]>;

test.each(Object.entries(tampering))(
  'finds %s, at the latest at the revision where the registry freezes the model',
  async (_, tamper) => {
    await fc.assert(
      fc.asyncProperty(commands, fc.nat(), async (given, pick) => {
        const { messages } = written(given);
        fc.pre(messages.length > 1);
        const [tampered, expected] = tamper(messages, pick % messages.length);
        const { findings } = await replayLog(sourceOf(tampered));
        // Null: any revision up to the freeze. Undefined: no finding, because only a checkpoint shows a missing end.
        if (expected !== null) expect(findings[0]?.revision).toBe(expected);
        for (const [model, revision] of frozen(tampered)) {
          expect(findings.find((finding) => finding.model === model)?.revision).toBeLessThanOrEqual(revision);
        }
      }),
      RUNS,
    );
  },
);

describe('an ignorable event of an unknown type', () => {
  const { messages } = written(fc.sample(commands, { numRuns: 1, seed: 5 })[0]!);
  const praisedAfter = (isLast: (type: string) => boolean) => {
    const index = messages.findLastIndex(({ body }) => isLast(JSON.parse(body.toString()).type));
    const praise = altered(messages[index]!, (event) => {
      Object.assign(event, { type: 'signalbox.version.praised.v1', ignorable: true });
    });
    return [...messages.slice(0, index), praise];
  };
  const isMove = (type: string) => /activated|rolled_back|deactivated/.test(type);

  test('is skipped, but its place in the chain is checked', async () => {
    const { findings } = await replayLog(sourceOf(praisedAfter((type) => !isMove(type))));
    expect(findings).toEqual([]);
  });

  test('is a violation for the registry and the audit if it changes what is active', async () => {
    const log = praisedAfter(isMove);
    const { findings } = await replayLog(sourceOf(log));
    expect(findings).toMatchObject([{ check: 'active', revision: log.at(-1)!.revision }]);
    expect(frozen(log)).toMatchObject([[expect.any(String), log.at(-1)!.revision]]);
  });
});

/** Returns the revision of the next event of the same model. */
function nextOf(messages: RawMessage[], i: number): number | undefined {
  return messages.find((message, j) => j > i && message.subject === messages[i]!.subject)?.revision;
}

function timeOf({ body }: RawMessage): string {
  return JSON.parse(body.toString()).time;
}

/** Returns the models that the registry would freeze, with the revisions of the events that it cannot follow. */
function frozen(messages: RawMessage[]): [string, number][] {
  const readModel = newReadModel();
  for (const { revision, subject, body } of messages) readModel.fold({ revision, model: modelOf(subject), body });
  return [...readModel.frozenModels].map(([name, { revision }]) => [name, revision]);
}
