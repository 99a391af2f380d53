import { Hono } from 'hono';
import { getPath } from 'hono/utils/url';
import { Problem } from '../domain/errors.ts';
import { canonicalPath } from './aliases.ts';
import { answering } from './answering.ts';
import { blobRoutes } from './blobs.ts';
import { preflightHeaders } from './browser.ts';
import { commandRoutes } from './commands.ts';
import { DOCS_POLICY, docsPage } from './docs.ts';
import { eventRoutes } from './events.ts';
import { healthRoutes } from './health.ts';
import { historyRoutes } from './history.ts';
import { identityRoutes } from './identity.ts';
import { keyRoutes } from './keys.ts';
import { loaderRoutes } from './loaders.ts';
import { metricsRoutes } from './metrics.ts';
import { modelRoutes } from './models.ts';
import { openApiDocument } from './openapi.ts';
import { publishRoutes } from './publish.ts';
import { type HttpApp, type Reply, type Route, route } from './route.ts';
import { RememberingRouter } from './router.ts';
import { runtimeRoutes } from './runtime.ts';
import type { Services } from './services.ts';
import { sessionRoutes } from './session.ts';
import { versionRoutes } from './versions.ts';

export const apiRoutes: readonly Route[] = [
  ...versionRoutes,
  ...publishRoutes,
  ...commandRoutes,
  ...runtimeRoutes,
  ...historyRoutes,
  ...eventRoutes,
  ...loaderRoutes,
  ...blobRoutes,
  ...modelRoutes,
  ...identityRoutes,
  ...keyRoutes,
  ...sessionRoutes,
  ...healthRoutes,
  ...metricsRoutes,
];

/** Every route of the registry over `services`. */
export function createApp(services: Services, version: string): HttpApp {
  // Other spellings of a path are the same route: they are rewritten before anything is matched.
  const rewritten = (request: Request) => canonicalPath(getPath(request));
  const app: HttpApp = new Hono({ router: new RememberingRouter(), getPath: rewritten });
  const routes = [...apiRoutes, ...documentationRoutes(openApiDocument(apiRoutes, version))];
  for (const route of routes) app.on(route.method, route.path, answering(route, services));
  app.notFound(answering(unmatched(routes), services));
  return app;
}

function documentationRoutes(document: Record<string, unknown>): Route[] {
  const text = JSON.stringify(document);
  const page = docsPage(document);
  const headers = {
    'Content-Type': 'text/html; charset=utf-8',
    'Content-Security-Policy': DOCS_POLICY,
  };
  return [
    {
      ...documentation,
      path: '/openapi.json',
      handle: () => ({ body: text }),
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

/** Tells an address that is there under another method from one that is not there at all. */
function unmatched(routes: readonly Route[]): Route {
  const patterns = routes.map(({ path, method }) => ({ method, pattern: patternOf(path) }));
  return route({
    ...documentation,
    path: '*',
    handle({ c }, { corsOrigins }) {
      const path = canonicalPath(c.req.path);
      if (path === '/' && SAFE.has(c.req.method) && wantsPage(c.req.header('accept'))) return TO_DOCS;
      const methods = patterns.filter(({ pattern }) => pattern.test(path)).map(({ method }) => method);
      if (methods.length === 0) throw new Problem('not-found', `There is no ${c.req.path}; see /docs.`);
      if (c.req.method === 'OPTIONS' && corsOrigins.includes(c.req.header('origin') ?? '')) {
        return { status: 204, headers: preflightHeaders(methods) };
      }
      throw new Problem('method-not-allowed', `${c.req.path} takes ${methods.join(' and ')}.`, { methods });
    },
  });
}

const SAFE = new Set(['GET', 'HEAD']);
const TO_DOCS: Reply = { status: 302, headers: { Location: '/docs', Vary: 'Accept' } };

/** Browsers name HTML; programs take anything, or say nothing. */
function wantsPage(accept = ''): boolean {
  return accept.split(',').some((range) => range.split(';')[0]!.trim().toLowerCase() === 'text/html');
}

/** A route's path as a regular expression. */
function patternOf(path: string): RegExp {
  return new RegExp(`^${path.replace(/:\w+(?:\{(.+)\})?/g, (_, own) => own ?? '[^/]+')}$`);
}
