import { VersionView } from '../../api/views.ts';
import { PublishBody, publish } from '../../commands/publish.ts';
import { checkType, mediaType, readJson } from '../server/body.ts';
import { route } from '../server/route.ts';
import { issuerOf, versionReply } from './command-reply.ts';
import { COMMAND_ERRORS } from './commands.ts';
import { checkManifest } from './manifest-input.ts';
import { receiveMultipart } from './multipart.ts';
import { ofModel } from './params.ts';

const MULTIPART = 'multipart/form-data';
/** Room for the largest manifest and its notes, indented and escaped. */
const MAX_BODY_BYTES = 1024 * 1024;

/** Two ways to send a version, one command: the parts of a multipart body are stored as blobs first. */
const publishRoute = route({
  method: 'POST',
  path: '/api/models/:model/versions',
  permission: publish.permission,
  summary: 'Publish a version: JSON for blobs stored before, or multipart/form-data with the part "manifest" first',
  event_type: 'version.published',
  params: ofModel,
  rawBody: { 'application/json': PublishBody, [MULTIPART]: PublishBody },
  answer: { status: 201, schema: VersionView },
  errors: [
    ...COMMAND_ERRORS,
    'checksum-mismatch',
    'version-exists',
    'artifact-missing',
    'reference-not-allowed',
    'volume-full',
  ],
  async handle(request, services) {
    const started = performance.now();
    checkType(request.c, 'application/json', MULTIPART);
    const issuer = issuerOf(request);
    const input =
      mediaType(request.c) === MULTIPART
        ? await receiveMultipart(request, services)
        : checkManifest(await readJson(request.c, MAX_BODY_BYTES), 'body');
    const outcome = await services.execute(publish, request.params.model, input, issuer);
    const { event } = outcome;
    const version = event?.type === 'version.published' ? event.data.version : input.version!;
    const reply = await versionReply(outcome, version, services);
    if (!event) return reply;
    services.metrics.published((performance.now() - started) / 1000);
    return { ...reply, status: 201, headers: { Location: `/api/models/${event.model}/versions/${version}` } };
  },
});

export const publishRoutes = [publishRoute];
