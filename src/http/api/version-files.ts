import { Problem } from '../../domain/errors.ts';
import { canonicalManifest } from '../../domain/manifest.ts';
import { isReferred } from '../../domain/reference.ts';
import { notModified } from '../server/etag.ts';
import { route } from '../server/route.ts';
import { blobReply } from './bytes.ts';
import { findVersion } from './find.ts';
import { ofFile, ofVersion } from './params.ts';

const manifest = route({
  method: 'GET',
  path: '/api/models/:model/versions/:version/manifest',
  permission: 'read',
  summary: 'The canonical manifest, whose SHA-256 is the manifest_digest',
  params: ofVersion,
  answer: { status: 200, type: 'application/json' },
  errors: ['unknown-model', 'unknown-version'],
  handle({ c, params }, services) {
    const { state } = findVersion(services, params.model, params.version);
    const headers = { ETag: `"${state.manifest_digest}"` };
    return notModified(c, headers.ETag)
      ? { status: 304, headers }
      : { headers, body: canonicalManifest(state.manifest) };
  },
});

const file = route({
  method: 'GET',
  path: '/api/models/:model/versions/:version/files/:path{.+}',
  permission: 'read',
  summary: 'The bytes of one artifact',
  params: ofFile,
  answer: { status: 200, type: 'application/octet-stream' },
  redirects: true,
  errors: [
    'unknown-model',
    'unknown-version',
    'not-found',
    'unknown-blob',
    'reference-changed',
    'range-not-satisfiable',
  ],
  handle({ c, params }, services) {
    const { state } = findVersion(services, params.model, params.version);
    const artifact = state.manifest.artifacts.find(({ path }) => path === params.path);
    if (!artifact) throw new Problem('not-found', `${params.model} ${params.version} has no file ${params.path}.`);
    return blobReply(c, services.artifacts, artifact.digest, { isStored: !isReferred(artifact) });
  },
});

export const versionFileRoutes = [manifest, file];
