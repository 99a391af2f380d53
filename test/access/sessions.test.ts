import { SignJWT } from 'jose';
import { describe, expect, it } from 'vitest';
import { createSessions, SESSION_COOKIE } from '../../src/access/sessions.ts';
import { signToken, tokenVerifier } from '../../src/access/tokens.ts';

const SECRET = Buffer.from('a secret of at least thirty-two bytes');
const OLDER = Buffer.from('another one of at least thirty-two bytes');
const ANA = { actor: 'ana', role: 'admin', groups: ['risk'] };
const MINUTE = 60_000;
const refused = { code: 'unauthenticated' };

/** Creates sessions with a manual clock. */
function sessionsOf(...secrets: Uint8Array[]) {
  const clock = { now: Date.parse('2026-03-03T08:00:00Z') };
  return { clock, sessions: createSessions(secrets, () => new Date(clock.now)) };
}

function cookieValue(cookie: string): string {
  return cookie.slice(SESSION_COOKIE.length + 1, cookie.indexOf(';'));
}

describe('a session', () => {
  it('is in a cookie that scripts and other hosts cannot read', async () => {
    const { sessions } = sessionsOf(SECRET);
    const { cookie } = await sessions.begin(ANA);
    expect(cookie).toMatch(/^__Host-signalbox=[^;]+; Path=\/; HttpOnly; Secure; SameSite=Strict; Max-Age=3600$/);
    expect(await sessions.verify(cookieValue(cookie))).toMatchObject(ANA);
  });

  it('ends after an hour without use', async () => {
    const { sessions, clock } = sessionsOf(SECRET);
    const value = cookieValue((await sessions.begin(ANA)).cookie);
    clock.now += 59 * MINUTE;
    await sessions.verify(value);
    clock.now += 2 * MINUTE;
    await expect(async () => sessions.verify(value)).rejects.toMatchObject({ ...refused, fields: { expired: true } });
  });

  it('is renewed while it is used, and ends after a day', async () => {
    const { sessions, clock } = sessionsOf(SECRET);
    const begun = clock.now;
    let { cookie } = await sessions.begin(ANA);
    let renewals = 0;
    while (clock.now < begun + 24 * 60 * MINUTE) {
      const session = await sessions.verify(cookieValue(cookie));
      expect(session).toMatchObject(ANA);
      const renewed = await sessions.renew(session);
      if (renewed) renewals++;
      cookie = renewed ?? cookie;
      clock.now += 10 * MINUTE;
    }
    expect(renewals).toBeGreaterThan(20);
    expect(renewals).toBeLessThan(60);
    await expect(async () => sessions.verify(cookieValue(cookie))).rejects.toMatchObject(refused);
  });

  it('ends no later than the token that it began with', async () => {
    const { sessions, clock } = sessionsOf(SECRET);
    const expires_at = new Date(clock.now + 90 * MINUTE);
    let { cookie, session } = await sessions.begin({ ...ANA, expires_at });
    expect(session.session.ends_at).toEqual(expires_at);
    clock.now += 45 * MINUTE;
    session = await sessions.verify(cookieValue(cookie));
    cookie = (await sessions.renew(session))!;
    session = await sessions.verify(cookieValue(cookie));
    expect(session.session).toEqual({ expires_at, ends_at: expires_at });
    clock.now += 46 * MINUTE;
    await expect(async () => sessions.verify(cookieValue(cookie))).rejects.toMatchObject(refused);
    // The token verifier accepts tokens for a few seconds after they expire. A session cannot begin with one.
    await expect(sessions.begin({ ...ANA, expires_at })).rejects.toMatchObject({
      ...refused,
      fields: { expired: true },
    });
  });

  it('is accepted by servers with the same secret, or with it as an older secret', async () => {
    const value = cookieValue((await sessionsOf(OLDER).sessions.begin(ANA)).cookie);
    const { sessions } = sessionsOf(SECRET, OLDER);
    const session = await sessions.verify(value);
    expect(session).toMatchObject(ANA);
    await expect(async () => sessionsOf(SECRET).sessions.verify(value)).rejects.toMatchObject(refused);
    const newer = cookieValue((await sessions.begin(session)).cookie);
    expect(await sessionsOf(SECRET).sessions.verify(newer)).toMatchObject(ANA);
  });

  it('is not accepted as a token, nor a token as a session', async () => {
    const now = new Date();
    const sessions = createSessions([SECRET]);
    const value = cookieValue((await sessions.begin(ANA)).cookie);
    await expect(async () => tokenVerifier({ secrets: [SECRET] })(value)).rejects.toMatchObject(refused);
    const token = await signToken(SECRET, { actor: 'ana', role: 'admin' }, 600, now);
    await expect(async () => sessions.verify(token)).rejects.toMatchObject(refused);
  });

  it('is refused if it is altered, unsigned, too long or not a session', async () => {
    const { sessions } = sessionsOf(SECRET);
    const value = cookieValue((await sessions.begin(ANA)).cookie);
    const [header, payload, signature] = value.split('.');
    const forged = await new SignJWT({ role: 'admin', groups: [], end: 9e9, exp: 9e9 })
      .setProtectedHeader({ alg: 'HS256', typ: 'signalbox-session+jwt' })
      .setSubject('eve')
      .sign(SECRET);
    for (const wrong of [
      `${header}.${payload}.${signature!.slice(0, -2)}`,
      `${header}.${payload!.slice(0, -4)}.${signature}`,
      `${Buffer.from('{"alg":"none","typ":"signalbox-session+jwt"}').toString('base64url')}.${payload}.`,
      forged,
      `${value}${'x'.repeat(5_000)}`,
      '',
      'rubbish',
    ]) {
      await expect(async () => sessions.verify(wrong), wrong).rejects.toMatchObject(refused);
    }
  });

  it('does not begin with more groups than fit into a cookie', async () => {
    const { sessions } = sessionsOf(SECRET);
    let largest = 0;
    for (let length = 2_700; length < 3_000; length++) {
      const begun = sessions.begin({ ...ANA, groups: ['g'.repeat(length)] });
      const cookie = await begun.then(
        ({ cookie }) => cookie.split(';')[0]!,
        (error) => error.code as string,
      );
      if (cookie === 'invalid-request') break;
      largest = cookie.length - 1; // without the equals sign
    }
    expect(largest).toBeGreaterThan(4_090);
    expect(largest).toBeLessThanOrEqual(4_096);
  });
});
