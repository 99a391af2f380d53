import { Hono } from 'hono';
import { getPath } from 'hono/utils/url';
import { Problem } from '../domain/errors.ts';
import { canonicalPath } from './aliases.ts';
import { blobRoutes } from './blobs.ts';
import { commandRoutes } from './commands.ts';
import { docsPage } from './docs.ts';
import { healthRoutes } from './health.ts';
import { historyRoutes } from './history.ts';
import { modelRoutes } from './models.ts';
import { openApiDocument } from './openapi.ts';
import { publishRoutes } from './publish.ts';
import { answering, type HttpApp, type Route, route } from './route.ts';
import type { Services } from './services.ts';
import { versionRoutes } from './versions.ts';

const apiRoutes: readonly Route[] = [
  ...versionRoutes,
  ...publishRoutes,
  ...commandRoutes,
  ...historyRoutes,
  ...blobRoutes,
  ...modelRoutes,
  ...healthRoutes,
];

/** Every route of the registry over `services`. */
export function createApp(services: Services, version: string): HttpApp {
  // Other spellings of a path are the same route: they are rewritten before anything is matched.
  const app: HttpApp = new Hono({ getPath: (request) => canonicalPath(getPath(request)) });
  const routes = [...apiRoutes, ...documentationRoutes(openApiDocument(apiRoutes, version))];
  for (const route of routes) app.on(route.method, route.path, answering(route, services));
  for (const path of new Set(routes.map(({ path }) => path)))
    app.all(path, answering(wrongMethod(path, routes), services));
  app.notFound(answering(nothing, services));
  return app;
}

function documentationRoutes(document: Record<string, unknown>): Route[] {
  const text = JSON.stringify(document);
  const page = docsPage(document);
  const headers = {
    'Content-Type': 'text/html; charset=utf-8',
    'Content-Security-Policy': "default-src 'none'; style-src 'unsafe-inline'",
  };
  return [
    {
      ...documentation,
      path: '/openapi.json',
      handle: () => ({ headers: { 'Content-Type': 'application/json' }, body: text }),
    },
    { ...documentation, path: '/docs', handle: () => ({ headers, body: page }) },
  ];
}

const documentation = {
  method: 'GET' as const,
  permission: null,
  summary: 'The documentation of this API',
  answer: { status: 200 },
  errors: [],
};

const nothing = route({
  ...documentation,
  path: '*',
  handle({ c }) {
    throw new Problem('not-found', `There is no ${c.req.path}; see /docs.`);
  },
});

function wrongMethod(path: string, routes: readonly Route[]): Route {
  const methods = routes.filter((route) => route.path === path).map(({ method }) => method);
  return route({
    ...documentation,
    path,
    handle({ c }) {
      throw new Problem('method-not-allowed', `${c.req.path} takes ${methods.join(' and ')}.`, { methods });
    },
  });
}
