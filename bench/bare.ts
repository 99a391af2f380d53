/**
 * Bare Hono, run as `node bench/bare.ts <file with the answer> [all]`. With `all`, it authenticates the caller and logs
 * sampled lines as the registry does.
 */
import { readFileSync } from 'node:fs';
import { serve } from '@hono/node-server';
import { Hono } from 'hono';
import { tokenVerifier } from '../src/access/tokens.ts';
import { createLogger } from '../src/telemetry.ts';

const { headers, body, secret } = JSON.parse(readFileSync(process.argv[2]!, 'utf8'));
const all = process.argv[3] === 'all';
const verify = tokenVerifier({ secrets: [Buffer.from(secret)] });
const log = createLogger();
const app = new Hono();
let reads = 0;

app.get('/api/models/:model/versions/active', async (c) => {
  if (all) {
    const started = performance.now();
    const id = c.req.header('x-request-id') ?? crypto.randomUUID();
    const verified = verify(c.req.header('authorization')!.slice('Bearer '.length));
    const { actor } = verified instanceof Promise ? await verified : verified;
    const latency_ms = performance.now() - started;
    if (reads++ % 100 === 0) log.info({ request_id: id, actor, status: 200, result: 'ok', latency_ms }, 'request');
    return new Response(body, { status: 200, headers: { ...headers, 'X-Request-Id': id } });
  }
  return new Response(body, { status: 200, headers });
});

serve({ fetch: app.fetch, port: 0, hostname: '127.0.0.1' }, ({ port }) => console.log(`http://127.0.0.1:${port}`));
