import { once } from 'node:events';
import { serve } from '@hono/node-server';
import { zValidator } from '@hono/zod-validator';
import { Hono } from 'hono';
import { pino } from 'pino';
import { startLoader } from 'signalbox/loader';
import { z } from 'zod';
import { openSession, type Rows, type Session, score, similar } from './model.ts';

const loader = await startLoader<Session>({
  model: 'songs',
  log: pino(), // without it, only warnings and errors are logged
  hydrate: (_, files) => openSession(files.path('model.onnx')),
  predict: (model, rows) => score(model, rows as Rows),
  dispose: (scorer) => scorer.close(),
});
await loader.ready();

/** The input of every version of this model. */
const Row = z.array(z.number()).length(6);
const Score = z.object({ rows: z.array(Row).min(1).max(1000) });
const Similar = z.object({ row: Row, count: z.int().min(1).max(100).default(3) });

let stopping = false;
const app = new Hono()
  .use(async (c, next) => {
    await next();
    if (stopping) c.header('Connection', 'close');
  })
  .post('/score', zValidator('json', Score), async (c) => {
    const { rows } = c.req.valid('json');
    return c.json(await loader.use(async ({ model, version }) => ({ version, scores: await score(model, rows) })));
  })
  .post('/similar', zValidator('json', Similar), async (c) => {
    const { row, count } = c.req.valid('json');
    return c.json(
      await loader.use(async (loaded) => ({ version: loaded.version, songs: await similar(loaded, row, count) })),
    );
  })
  .get('/healthz', (c) => c.json(loader.status()));

const port = Number(process.env.PORT ?? 3000);
const server = serve({ fetch: app.fetch, hostname: '127.0.0.1', port }, (at) =>
  console.log(`Songs are on http://127.0.0.1:${at.port}`),
);

process.once('SIGINT', stop);
process.once('SIGTERM', stop);

/** Answers the open requests, then disposes of the model and leaves the registry's list. */
async function stop() {
  stopping = true;
  server.close();
  await once(server, 'close');
  await loader.close();
  process.exit(); // even if a hanging request still holds a thread
}
