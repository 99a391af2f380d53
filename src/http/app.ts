import { Hono } from 'hono';
import { getPath } from 'hono/utils/url';
import { Problem } from '../domain/errors.ts';
import { activeRoutes } from './api/active.ts';
import { blobRoutes } from './api/blobs.ts';
import { commandRoutes } from './api/commands.ts';
import { compareRoutes } from './api/compare.ts';
import { healthRoutes } from './api/health.ts';
import { historyRoutes } from './api/history.ts';
import { identityRoutes } from './api/identity.ts';
import { keyRoutes } from './api/keys.ts';
import { layRoutes } from './api/lay.ts';
import { loaderRoutes } from './api/loaders.ts';
import { metricsRoutes } from './api/metrics.ts';
import { modelRoutes } from './api/models.ts';
import { publishRoutes } from './api/publish.ts';
import { runtimeRoutes } from './api/runtime.ts';
import { sessionRoutes } from './api/session.ts';
import { snapshotRoutes } from './api/snapshots.ts';
import { timelineRoutes } from './api/timeline.ts';
import { uploadRoutes } from './api/uploads.ts';
import { versionFileRoutes } from './api/version-files.ts';
import { versionRoutes } from './api/versions.ts';
import { openApiDocument } from './docs/openapi.ts';
import { DOCS_POLICY, docsPage } from './docs/page.ts';
import { canonicalPath } from './server/aliases.ts';
import { answering } from './server/answering.ts';
import { preflightHeaders } from './server/browser.ts';
import type { HttpApp } from './server/context.ts';
import { type Reply, type Route, route } from './server/route.ts';
import { CachingRouter } from './server/router.ts';
import type { Services } from './services.ts';

export const apiRoutes: readonly Route[] = [
  ...versionRoutes,
  ...activeRoutes,
  ...versionFileRoutes,
  ...layRoutes,
  ...compareRoutes,
  ...publishRoutes,
  ...commandRoutes,
  ...runtimeRoutes,
  ...historyRoutes,
  ...timelineRoutes,
  ...snapshotRoutes,
  ...loaderRoutes,
  ...blobRoutes,
  ...uploadRoutes,
  ...modelRoutes,
  ...identityRoutes,
  ...keyRoutes,
  ...sessionRoutes,
  ...healthRoutes,
  ...metricsRoutes,
];

/** Returns the app with every route of the registry. */
export function createApp(services: Services, version: string): HttpApp {
  // Aliases of a path are rewritten before routes are matched.
  const rewritten = (request: Request) => canonicalPath(getPath(request));
  const app: HttpApp = new Hono({ router: new CachingRouter(), getPath: rewritten });
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

/** Answers requests that no route matches: preflight, another method, or an unknown path. */
function unmatched(routes: readonly Route[]): Route {
  const patterns = routes.map(({ path, method }) => ({ method, pattern: patternOf(path) }));
  return route({
    ...documentation,
    path: '*',
    handle({ c }, { corsOrigins }) {
      const path = canonicalPath(c.req.path);
      if (path === '/' && SAFE.has(c.req.method) && wantsPage(c.req.header('accept'))) return TO_DOCS;
      const methods = patterns.filter(({ pattern }) => pattern.test(path)).map(({ method }) => method);
      if (methods.length === 0) throw new Problem('not-found', `There is no ${c.req.path}. See /docs for all paths.`);
      if (c.req.method === 'OPTIONS' && corsOrigins.includes(c.req.header('origin') ?? '')) {
        return { status: 204, headers: preflightHeaders(methods) };
      }
      const detail = `${c.req.path} does not support ${c.req.method}. Use ${methods.join(' or ')}.`;
      throw new Problem('method-not-allowed', detail, { methods });
    },
  });
}

const SAFE = new Set(['GET', 'HEAD']);
const TO_DOCS: Reply = { status: 302, headers: { Location: '/docs', Vary: 'Accept' } };

/** Whether a browser sent the request: programs accept anything or send no Accept. */
function wantsPage(accept = ''): boolean {
  return accept.split(',').some((range) => range.split(';')[0]!.trim().toLowerCase() === 'text/html');
}

/** Returns the path of a route as a regular expression. */
function patternOf(path: string): RegExp {
  return new RegExp(`^${path.replace(/:\w+(?:\{(.+)\})?/g, (_, own) => own ?? '[^/]+')}$`);
}
