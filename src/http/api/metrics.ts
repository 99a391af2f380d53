import { route } from '../server/route.ts';

const metrics = route({
  method: 'GET',
  path: '/metrics',
  permission: null,
  summary: 'What is counted and timed here, for Prometheus',
  answer: { status: 200, type: 'text/plain' },
  errors: [],
  async handle(_request, services) {
    const headers = { 'Content-Type': services.metrics.contentType };
    return { headers, body: await services.metrics.text() };
  },
});

export const metricsRoutes = [metrics];
