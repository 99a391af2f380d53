import { route } from '../server/route.ts';

const metrics = route({
  method: 'GET',
  path: '/metrics',
  permission: null,
  summary: 'Metrics of this server for Prometheus',
  answer: { status: 200, type: 'text/plain' },
  errors: [],
  async handle(_request, services) {
    const headers = { 'Content-Type': services.metrics.contentType };
    return { headers, body: await services.metrics.text() };
  },
});

export const metricsRoutes = [metrics];
