import { expect, it } from 'vitest';
import { isArtifactPath } from '../../../src/domain/manifest.ts';
import { isVersion } from '../../../src/domain/versions.ts';
import { apiRoutes } from '../../../src/http/app.ts';
import { openApiDocument } from '../../../src/http/docs/openapi.ts';
import { docsPage } from '../../../src/http/docs/page.ts';

interface Operation {
  'x-permission'?: string;
  parameters: { name: string; schema: { pattern: string } }[];
  requestBody?: { required: boolean; content: Record<string, { schema: { properties: Record<string, object> } }> };
  responses: Record<string, { description: string; content: Record<string, unknown> }>;
}

const document = openApiDocument(apiRoutes, '1.0.0');
const paths = document.paths as Record<string, Record<string, Operation>>;
const VERSIONS = '/api/models/{model}/versions';

it('every route has the limits of requests and of invalid credentials', () => {
  for (const operation of Object.values(paths).flatMap((methods) => Object.values(methods))) {
    expect(operation.responses[429]?.description).toContain('too-many-requests');
    if (operation['x-permission']) expect(operation.responses[429]?.description).toContain('too-many-attempts');
  }
});

it('snapshots are a stream or JSON', () => {
  const { content } = paths['/api/models/{model}/events']!.get!.responses[200]!;
  expect(Object.keys(content)).toEqual(['text/event-stream', 'application/json']);
});

it('downloads may be redirected, if the caller accepts it', () => {
  const redirecting = Object.values(paths)
    .map(({ get }) => get)
    .filter((operation) => operation?.responses[307]);
  expect(redirecting).toContain(paths['/api/blobs/{digest}']!.get);
  expect(redirecting).toContain(paths[`${VERSIONS}/{version}/files/{path}`]!.get);
  for (const operation of redirecting) {
    expect(operation!.parameters.map(({ name }) => name)).toContain('Signalbox-Redirect');
  }
});

it.each([
  ['post', `${VERSIONS}/{version}/restore`, false],
  ['post', `${VERSIONS}/{version}/archive`, false],
  ['post', `${VERSIONS}/{version}/activate`, false],
  ['post', '/api/models/{model}/rollback', true],
  ['patch', `${VERSIONS}/{version}/notes`, true],
  ['post', VERSIONS, true],
])('states whether a body is required: %s %s %s', (method, path, required) => {
  expect(paths[path]![method]!.requestBody!.required).toBe(required);
});

it('the pattern of a version matches what the registry accepts', () => {
  const { parameters } = paths[`${VERSIONS}/{version}`]!.get!;
  const pattern = new RegExp(parameters.find(({ name }) => name === 'version')!.schema.pattern);
  const texts = ['1.0.0', '0.0.1', '10.20.30', '1.0.0-rc.1', '1.0.0-x-y.z', '1.0.0--', '1.0.0-0'];
  const wrong = [
    '1.0',
    'v1.0.0',
    '01.0.0',
    '1.0.0+b',
    '1.0.0-',
    '1.0.0-01',
    '1.0.0-a..b',
    '1.0.0\n',
    ' 1.0.0',
    'latest',
  ];
  for (const text of [...texts, ...wrong]) expect(pattern.test(text), text).toBe(isVersion(text));
});

it('the pattern of a path matches what the registry accepts', () => {
  const { schema } = paths[VERSIONS]!.post!.requestBody!.content['application/json']!;
  const artifacts = schema.properties.artifacts as { items: { properties: { path: { pattern: string } } } };
  const pattern = new RegExp(artifacts.items.properties.path.pattern);
  const texts = ['a', 'a/b.txt', '...', '.hidden', 'a/..b', 'a b', 'é', '..a/b', '-'];
  const wrong = [
    '',
    '/',
    'a/',
    '/a',
    '.',
    '..',
    'a/./b',
    'a/..',
    '../a',
    'a//b',
    'a\\b',
    'a:b',
    'a\u0000',
    'a\n',
    'a*',
    '"',
  ];
  for (const text of [...texts, ...wrong]) expect(pattern.test(text), text).toBe(isArtifactPath(text));
});

it('the page lists each route once, and its links have targets', () => {
  const page = docsPage(document);
  const ids = [...page.matchAll(/ id="([^"]*)"/g)].map(([, id]) => id);
  expect(new Set(ids).size).toBe(ids.length);
  expect(ids).toContain(`post-${VERSIONS}`);
  expect(ids.length).toBeGreaterThanOrEqual(apiRoutes.length);
  for (const { path } of apiRoutes) {
    const address = path.replace(/:(\w+)(\{[^}]*\})?/g, '{$1}');
    expect(page.split(`</span>${address}</code>`).length - 1, path).toBe(
      apiRoutes.filter((route) => route.path === path).length,
    );
  }
  const links = [...page.matchAll(/href="#([^"]*)"/g)].map(([, id]) => id);
  expect(links.length).toBeGreaterThan(10);
  for (const link of links) expect(ids).toContain(link);
  expect(page).toContain('/api/registry/models');
});
