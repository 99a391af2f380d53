import { VersionView } from '../../api/views.ts';
import { artifactMissing, PublishBody, type PublishInput, publish } from '../../commands/publish.ts';
import { checkType, mediaType, readJson } from '../server/body.ts';
import { type Reply, route } from '../server/route.ts';
import { callerOf, versionReply } from './command-reply.ts';
import { COMMAND_ERRORS } from './commands.ts';
import { checkManifest } from './manifest-input.ts';
import { receiveMultipart } from './multipart.ts';
import { ofModel } from './params.ts';

const MULTIPART = 'multipart/form-data';
/** Room for the largest manifest and its notes, indented and escaped. */
const MAX_BODY_BYTES = 1024 * 1024;

/** Two ways to send a version, one command: a multipart body stores its parts as blobs and then is the JSON one. */
const publishRoute = route({
  method: 'POST',
  path: '/api/models/:model/versions',
  permission: 'publish',
  summary: 'Publish a version: JSON for blobs stored before, or multipart/form-data with the part "manifest" first',
  event_type: 'version.published',
  params: ofModel,
  rawBody: { 'application/json': PublishBody, [MULTIPART]: PublishBody },
  answer: { status: 201, schema: VersionView },
  errors: [...COMMAND_ERRORS, 'checksum-mismatch', 'version-exists', 'artifact-missing', 'volume-full'],
  async handle(request, services) {
    const started = performance.now();
    checkType(request.c, 'application/json', MULTIPART);
    const caller = callerOf(request);
    if (mediaType(request.c) !== MULTIPART) {
      const input = checkManifest(await readJson(request.c, MAX_BODY_BYTES), 'body');
      const digests = input.artifacts.map(({ digest }) => digest);
      const foreign = services.blobAccess.foreign(request, digests);
      const first = input.artifacts.find(({ digest }) => foreign.has(digest));
      if (first) throw artifactMissing(first);
      return run(input);
    }
    return run(await receiveMultipart(request.c, services));

    async function run(input: PublishInput): Promise<Reply> {
      const outcome = await services.dispatch(publish, request.params.model, input, caller);
      const { event } = outcome;
      const version = event?.type === 'version.published' ? event.data.version : input.version!;
      const reply = await versionReply(outcome, version, services);
      if (!event) return reply;
      services.metrics.published((performance.now() - started) / 1000);
      return { ...reply, status: 201, headers: { Location: `/api/models/${event.model}/versions/${version}` } };
    }
  },
});

export const publishRoutes = [publishRoute];
