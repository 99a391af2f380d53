import { Hono } from 'hono';
import { expect, it } from 'vitest';
import { z } from 'zod';
import { answering } from '../../../src/http/server/answering.ts';
import type { HttpApp } from '../../../src/http/server/context.ts';
import { route } from '../../../src/http/server/route.ts';
import type { Services } from '../../../src/http/services.ts';

it('an answer that has no JSON is told as a problem document', async () => {
  const logged: unknown[] = [];
  const services = {
    publicUrl: null,
    corsOrigins: [],
    limiter: null,
    metrics: { requests: () => () => {} },
    log: { error: (line: unknown) => logged.push(line) },
    revision: () => '0',
    stale: () => false,
  } as unknown as Services;
  let deep: unknown = null;
  for (let i = 0; i < 200_000; i++) deep = [deep];
  const broken = route({
    method: 'GET',
    path: '/',
    permission: null,
    summary: 'Something too deep to tell',
    answer: { status: 200, schema: z.unknown() },
    errors: [],
    handle: () => ({ json: deep }),
  });
  const app: HttpApp = new Hono();
  app.get('/', answering(broken, services));
  const response = await app.request('/');
  expect(response.status).toBe(500);
  expect(response.headers.get('content-type')).toBe('application/problem+json');
  expect(await response.json()).toMatchObject({ code: 'internal', status: 500 });
  expect(logged).toMatchObject([{ status: 500, result: 'internal', err: expect.any(RangeError) }]);
});
