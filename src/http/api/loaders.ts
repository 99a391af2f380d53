import { z } from 'zod';
import { Problem } from '../../domain/errors.ts';
import { convergence, FleetView, LoaderReport, type LoaderView } from '../../domain/fleet.ts';
import { activeMap } from '../../domain/model.ts';
import { EnvironmentName } from '../../domain/names.ts';
import { route } from '../server/route.ts';
import { findEnvironment } from './find.ts';
import { ofLoader, ofModel } from './params.ts';

const report = route({
  method: 'PUT',
  path: '/api/models/:model/loaders/:instance',
  permission: 'report',
  summary: 'Report the state of a loader; the state "stopped" removes it from the list',
  event_type: 'loader.reported',
  params: ofLoader,
  body: LoaderReport,
  answer: { status: 204 },
  errors: ['too-many-requests', 'log-unavailable'],
  async handle({ params: { model, instance }, body }, { fleet }) {
    await fleet.report(model, instance, body).catch((cause: unknown) => {
      if (cause instanceof Problem) throw cause;
      throw new Problem('log-unavailable', 'The report could not be stored. Send it again.', {}, cause);
    });
    return { status: 204, log: { instance, state: body.state, revision: body.current?.revision } };
  },
});

const list = route({
  method: 'GET',
  path: '/api/models/:model/loaders',
  permission: 'read',
  summary: 'Loaders that reported in the last 90 seconds, and how many of them serve the active version',
  params: ofModel,
  query: z.object({ environment: EnvironmentName.optional() }),
  answer: { status: 200, schema: FleetView },
  errors: ['unknown-environment'],
  handle({ params: { model }, query: { environment } }, services) {
    // A loader may wait for the first version of a model, so an unknown model is not an error here.
    const all = services.fleet.of(model).sort(byName);
    const active = activeMap(services.readModel.model(model), services.environments);
    if (environment === undefined) return { json: { loaders: all, environments: convergence(active, all) } };
    findEnvironment(services, environment);
    const loaders = all.filter((loader) => loader.environment === environment);
    const only = { [environment]: active[environment] ?? null };
    return { json: { loaders, environments: convergence(only, loaders) } };
  },
});

function byName(a: LoaderView, b: LoaderView): number {
  return a.environment.localeCompare(b.environment) || a.instance.localeCompare(b.instance);
}

export const loaderRoutes = [report, list];
