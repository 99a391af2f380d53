import { describe, expect, it } from 'vitest';
import { actorNameProblem } from '../../src/access/actor-name.ts';

describe('the name of an actor', () => {
  it.each([
    'ana',
    'ana@example.org',
    'auth0|5f7c8ec7c33c6c004bbafe82',
    'system:serviceaccount:ml:trainer',
    'CN=Ana Müller,O=Example',
    'https://login.example.org/users/7',
    '王芳',
    'registry-ci',
    'monkey:a',
    'x'.repeat(200),
  ])('can be %s', (name) => expect(actorNameProblem(name)).toBeNull());

  it.each([
    ['key:installer', 'reserved'],
    ['KEY:installer', 'reserved'],
    ['ｋｅｙ：installer', 'reserved'],
    ['volume', 'reserved'],
    ['Registry', 'reserved'],
    ['anonymous', 'reserved'],
    [' volume', 'space'],
    ['ana\u00a0', 'space'],
    ['ana\nben', 'U+000A'],
    ['ana\u0000', 'U+0000'],
    ['ana\u009b2J', 'U+009B'],
    ['ana\u202egro', 'U+202E'],
    ['a\u200bna', 'U+200B'],
    ['ana\u2028', 'U+2028'],
    ['ana\ud800', 'U+D800'],
    ['ana\ue000', 'U+E000'],
    ['', '1 to 200'],
    ['x'.repeat(201), '1 to 200'],
  ])('cannot be %j', (name, why) => expect(actorNameProblem(name)).toContain(why));
});
