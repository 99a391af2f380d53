import { describe, expect, it } from 'vitest';
import { createRevisionWait } from '../../../src/http/server/min-revision.ts';
import { compareRevision, type LogPosition, parseRevisionToken, revisionToken } from '../../../src/log/identity.ts';
import { createTestApp, tokenOf } from '../support.ts';

const ACTIVE = '/api/models/fraud/versions/active';
const HASH = 'a'.repeat(64);
const admin = await tokenOf('ana', 'admin');
const at = (revision: number, changed: Partial<LogPosition> = {}): LogPosition => ({
  generation: 0,
  epoch: HASH,
  revision,
  hash: HASH,
  ...changed,
});

/** A read model whose position the test moves, and the wait for it. */
function reader(position: LogPosition) {
  const waiters = new Set<{ holds(position: LogPosition): boolean; settle(held: boolean): void }>();
  const readModel = { committed: position };
  const awaitRevision = createRevisionWait({
    readModel: readModel as never,
    until: (holds) => new Promise((settle) => waiters.add({ holds, settle })),
  });
  return {
    awaitRevision,
    waiting: () => waiters.size,
    move(next: LogPosition) {
      readModel.committed = next;
      for (const waiter of waiters) if (waiter.holds(next) && waiters.delete(waiter)) waiter.settle(true);
    },
    timeOut() {
      for (const waiter of waiters) waiter.settle(false);
      waiters.clear();
    },
  };
}

describe('a revision token', () => {
  it.each([at(7), at(0, { epoch: null, hash: null }), at(7, { epoch: null }), at(7, { generation: 3 })])(
    'is reached by the reader that gave it: %o',
    (position) => {
      expect(compareRevision(position, parseRevisionToken(revisionToken(position))!)).toBe('reached');
    },
  );

  it.each([
    ['behind', at(6), at(7)],
    ['behind', at(0, { epoch: null, hash: null }), at(7)],
    ['behind', at(9), at(7, { generation: 1 })],
    ['reached', at(9), at(7)],
    ['reached', at(9, { epoch: null }), at(7)],
    ['reached', at(9), at(0, { epoch: null, hash: null })],
    ['restored', at(9, { generation: 1 }), at(7)],
    ['other', at(9, { epoch: 'b'.repeat(64) }), at(7)],
    ['other', at(6, { epoch: 'b'.repeat(64) }), at(7)],
  ])('is %s for a reader at %o after one at %o', (compared, position, seen) => {
    expect(compareRevision(position, parseRevisionToken(revisionToken(seen))!)).toBe(compared);
  });
});

describe('waiting for a revision', () => {
  const token = revisionToken(at(7));

  it('is not necessary if it was read', () => expect(reader(at(7)).awaitRevision(token)).toBeNull());

  it('ends when the reader has read it', async () => {
    const { awaitRevision, move, waiting } = reader(at(5));
    const waited = awaitRevision(token);
    move(at(6));
    expect(waiting()).toBe(1);
    move(at(7));
    await waited;
  });

  it('ends with a refusal that names the reached revision', async () => {
    const { awaitRevision, timeOut, move } = reader(at(5));
    const waited = awaitRevision(token);
    move(at(6));
    timeOut();
    const fields = { min_revision: token, reached: revisionToken(at(6)) };
    await expect(waited).rejects.toMatchObject({ code: 'not-caught-up', fields });
  });

  it('ends with a refusal if the reader notices that its log is another one, or was restored', async () => {
    const empty = reader(at(0, { epoch: null, hash: null }));
    const other = empty.awaitRevision(token);
    empty.move(at(1, { epoch: 'b'.repeat(64) }));
    empty.timeOut();
    await expect(other).rejects.toMatchObject({
      code: 'invalid-request',
      message: expect.stringMatching(/another log/),
    });
    const late = reader(at(5));
    const restored = late.awaitRevision(token);
    late.move(at(0, { generation: 1, epoch: null }));
    await expect(restored).rejects.toMatchObject({
      code: 'invalid-request',
      message: expect.stringMatching(/restored/),
    });
  });

  it('is refused at once to the request after a thousand', async () => {
    const { awaitRevision, move } = reader(at(5));
    const waited = Array.from({ length: 1000 }, () => awaitRevision(token));
    expect(() => awaitRevision(token)).toThrow(expect.objectContaining({ code: 'not-caught-up' }));
    move(at(7));
    await Promise.all(waited);
    move(at(5));
    void awaitRevision(token);
  });
});

describe('Registry-Min-Revision', () => {
  const ask = (app: Awaited<ReturnType<typeof createTestApp>>, token: string, path = ACTIVE, credential = admin) =>
    app.request(path, { headers: { ...credential, 'Registry-Min-Revision': token } });

  it('of an earlier answer does not need a promise', async () => {
    const app = await createTestApp();
    const token = (await app.request(ACTIVE, { headers: admin })).headers.get('registry-revision')!;
    expect(await ask(app, token)).toMatchObject({ status: 200 });
    expect(ask(app, token)).toBeInstanceOf(Response);
  });

  it('that this server does not reach is refused, with the revision that it has reached', async () => {
    const app = await createTestApp();
    const reached = app.services.revision();
    const min_revision = reached.replace(/2$/, '3');
    const response = await ask(app, min_revision);
    expect([response.status, response.headers.get('retry-after')]).toEqual([503, '1']);
    expect(await response.json()).toMatchObject({ code: 'not-caught-up', min_revision, reached });
  });

  it.each([
    '',
    '7',
    'x-7',
    '0-5f70a1b2',
    '0-5f70a1b2--1',
    '0-5F70A1B2-1',
    '0-5f70a1b2-1, 0-5f70a1b2-1',
    '0-5f70a1b2-1',
  ])('that is not valid, or of another log, is refused: %j', async (token) => {
    const response = await ask(await createTestApp(), token);
    expect([response.status, JSON.parse(await response.text()).code]).toEqual([400, 'invalid-request']);
  });

  it('is looked at after the credential, and not for probes', async () => {
    const app = await createTestApp();
    expect((await ask(app, 'x', ACTIVE, {})).status).toBe(401);
    for (const path of ['/healthz', '/readyz', '/metrics']) expect((await ask(app, 'x', path)).status, path).toBe(200);
  });

  it('delays a command until the revision is read', async () => {
    const done: string[] = [];
    const app = await createTestApp({
      awaitRevision: async () => void done.push('revision'),
      execute: async () => {
        done.push('command');
        throw new Error('the end of this test');
      },
    });
    const headers = { ...admin, 'Content-Type': 'application/json', 'Registry-Min-Revision': 'any' };
    await app.request('/api/models/fraud/rollback', { method: 'POST', headers, body: '{"reason":"a test"}' });
    expect(done).toEqual(['revision', 'command']);
  });
});
