import { z } from 'zod';
import { SESSION_COOKIE } from '../../access/sessions.ts';
import { ProblemDocument } from '../../api/problem.ts';
import { REDIRECT } from '../../api/redirect.ts';
import { type ProblemCode, problemTable } from '../../domain/errors.ts';
import { aliasOf } from '../server/aliases.ts';
import { MIN_REVISION } from '../server/min-revision.ts';
import type { Route } from '../server/route.ts';

type Json = Record<string, unknown>;

/** Returns the OpenAPI 3.1 document of the routes, from the schemas that check the requests. */
export function openApiDocument(routes: readonly Route[], version: string): Json {
  const schemas: Json = {};
  const paths: Record<string, Json> = {};
  for (const route of routes) {
    const path = route.path.replace(/:(\w+)(\{[^}]*\})?/g, '{$1}');
    const operation = operationOf(route, schemas);
    const method = route.method.toLowerCase();
    paths[path] = { ...paths[path], [method]: operation };
    const alias = aliasOf(path);
    if (alias) paths[alias] = { ...paths[alias], [method]: withoutModel(operation) };
  }
  schemas.Problem = jsonSchema(ProblemDocument, 'input', schemas);
  return {
    openapi: '3.1.0',
    info: { title: 'Signalbox', version, license: { name: 'Apache-2.0', identifier: 'Apache-2.0' } },
    servers: [{ url: '/' }],
    security: [{ bearer: [] }, { session: [] }, { signature: [] }],
    paths,
    components: { schemas, securitySchemes },
  };
}

const securitySchemes = {
  bearer: { type: 'http', scheme: 'bearer', bearerFormat: 'JWT' },
  session: { type: 'apiKey', in: 'cookie', name: SESSION_COOKIE, description: 'From POST /api/session' },
  signature: {
    type: 'apiKey',
    in: 'header',
    name: 'Signature',
    description: 'With Signature-Input: HTTP Message Signatures (RFC 9421) by a signing key, hmac-sha256',
  },
};

function operationOf(route: Route, schemas: Json): Json {
  const bodies = route.body ? { 'application/json': route.body } : route.rawBody;
  return {
    summary: route.summary,
    ...(route.permission ? { 'x-permission': route.permission } : { security: [] }),
    parameters: [
      ...parameters(route.params, 'path', schemas),
      ...parameters(route.query, 'query', schemas),
      ...(route.permission ? [minRevision] : []),
      ...(route.redirects ? [redirect] : []),
    ],
    ...(bodies && { requestBody: { required: needsBody(route), content: contentOf(bodies, 'input', schemas) } }),
    responses: { ...successOf(route, schemas), ...(route.redirects && redirected), ...refusalsOf(route) },
  };
}

const minRevision = {
  name: MIN_REVISION,
  in: 'header',
  required: false,
  schema: {
    type: 'string',
    description:
      'The Registry-Revision of an earlier answer: a server that has not read it yet waits for it, at most 5 s',
  },
};

const redirect = {
  name: REDIRECT,
  in: 'header',
  required: false,
  schema: {
    type: 'string',
    enum: ['accept'],
    description: 'Allows the answer 307. Only for clients that do not send their credentials to the other address',
  },
};

const redirected = {
  307: {
    description: `With ${REDIRECT}: the address of the bytes in the artifact store, valid for a minute, if the store has addresses`,
    headers: { Location: { required: true, schema: { type: 'string', format: 'uri' } } },
  },
};

/** A missing body counts as an empty object. */
function needsBody({ body }: Route): boolean {
  return body === undefined || !body.safeParse({}).success;
}

function parameters(schema: z.ZodType | undefined, where: 'path' | 'query', schemas: Json): Json[] {
  if (!schema) return [];
  const { properties = {}, required = [] } = jsonSchema(schema, 'input', schemas) as {
    properties?: Json;
    required?: string[];
  };
  return Object.entries(properties).map(([name, schema]) => ({
    name,
    in: where,
    required: where === 'path' || required.includes(name),
    schema,
  }));
}

function contentOf(bodies: Record<string, z.ZodType | null>, io: 'input' | 'output', schemas: Json): Json {
  const entries = Object.entries(bodies).map(([type, schema]) => [
    type,
    { schema: schema ? jsonSchema(schema, io, schemas) : { type: 'string', format: 'binary' } },
  ]);
  return Object.fromEntries(entries);
}

function successOf({ answer, summary }: Route, schemas: Json): Json {
  if (answer.status === 204) return { 204: { description: summary } };
  const { type = 'application/json', schema = null, others } = answer;
  const content = contentOf({ [type]: schema, ...others }, 'output', schemas);
  return { [answer.status]: { description: summary, content } };
}

/** Returns the refusals by status, each with its problem codes. */
function refusalsOf({ errors, permission, params, query, body, rawBody }: Route): Json {
  const codes = new Set<ProblemCode>([...errors, 'too-many-requests']);
  if (params || query || body || rawBody) codes.add('invalid-request');
  if (body || rawBody) codes.add('too-large').add('unsupported-media-type');
  if (permission) {
    codes.add('unauthenticated').add('forbidden').add('too-many-attempts');
    codes.add('invalid-request').add('not-caught-up'); // Registry-Min-Revision
  }
  const responses: Json = {};
  for (const { code, status } of problemTable) {
    if (!codes.has(code)) continue;
    const earlier = (responses[status] as { description: string } | undefined)?.description;
    const content = { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } };
    responses[status] = { description: earlier ? `${earlier}, ${code}` : code, content };
  }
  return responses;
}

/** Converts a schema to JSON Schema 2020-12, which OpenAPI 3.1 uses; named schemas become components. */
function jsonSchema(schema: z.ZodType, io: 'input' | 'output', schemas: Json): Json {
  const { $schema: _, $defs = {}, ...own } = z.toJSONSchema(schema, { io, unrepresentable: 'any' }) as Json;
  const inComponents = (part: unknown) =>
    JSON.parse(JSON.stringify(part).replaceAll('"#/$defs/', '"#/components/schemas/')) as Json;
  Object.assign(schemas, inComponents($defs));
  return inComponents(own);
}

function withoutModel(operation: Json): Json {
  const parameters = (operation.parameters as Json[]).filter(({ name }) => name !== 'model');
  return { ...operation, parameters };
}
