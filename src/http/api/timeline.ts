import { z } from 'zod';
import { pageOf } from '../../api/page.ts';
import { Tenure } from '../../api/tenure.ts';
import { EnvironmentName } from '../../domain/names.ts';
import { Paging, pageReply, pageStart } from '../server/paging.ts';
import { route } from '../server/route.ts';
import { findModel } from './find.ts';
import { ofModel } from './params.ts';

const timeline = route({
  method: 'GET',
  path: '/api/models/:model/timeline',
  permission: 'read',
  summary: 'Which version was active from when until when, newest first',
  params: ofModel,
  query: z.object({ environment: EnvironmentName.optional(), ...Paging }),
  answer: { status: 200, schema: pageOf('tenures', Tenure) },
  errors: ['unknown-model', 'list-timeout'],
  async handle({ params: { model }, query }, services) {
    findModel(services, model);
    const { environment } = query;
    const listing = ['timeline', model, environment ?? null, services.readModel.position.epoch];
    const page = await services.lists.list('timeline', { ...pageStart(listing, query), model, environment });
    return pageReply('tenures', page, listing);
  },
});

export const timelineRoutes = [timeline];
