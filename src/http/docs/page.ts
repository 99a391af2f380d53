import { hash } from 'node:crypto';
import { html, raw } from 'hono/html';
import { DEFAULT_MODEL } from '../../domain/names.ts';
import { aliasOf } from '../server/aliases.ts';

interface Operation {
  summary: string;
  'x-permission'?: string;
  parameters: { name: string; in: string; required: boolean; schema: unknown }[];
  requestBody?: { content: Record<string, { schema: unknown }> };
  responses: Record<string, { description: string; content?: Record<string, { schema: unknown }> }>;
}

const STYLE = `
  body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
  summary { cursor: pointer; padding: .3rem 0; }
  code, pre { font: 13px/1.45 ui-monospace, monospace; }
  pre { overflow: auto; max-height: 24rem; padding: .6rem; background: #8881; border-radius: 4px; }
  .method { display: inline-block; width: 4.5em; font-weight: 600; }
  .permission { opacity: .65; }
  details > div { margin: 0 0 1rem 1rem; }
  table { border-collapse: collapse; } td { padding: .1rem .8rem .1rem 0; vertical-align: top; }
  :root { color-scheme: light dark; }`;

/** Allows only this style sheet. */
export const DOCS_POLICY = `default-src 'none'; style-src 'sha256-${hash('sha256', STYLE, 'base64')}'; frame-ancestors 'none'`;

/**
 * Returns the API documentation as a page that runs no scripts and loads nothing. The renderers of OpenAPI on npm load
 * fonts and scripts from other servers or report their installation.
 */
export function docsPage(document: Record<string, unknown>): string {
  const paths = Object.entries(document.paths as Record<string, Record<string, Operation>>);
  const { schemas } = document.components as { schemas: Record<string, unknown> };
  const aliases = new Set(paths.map(([path]) => aliasOf(path)));
  const operations = paths
    .filter(([path]) => !aliases.has(path))
    .flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, operation]) => operationSection(method, path, operation)),
    );
  const shapes = Object.entries(schemas).map(([name, schema]) =>
    details(html`<code>${name}</code>`, json(schema), name),
  );
  const page = html`<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Signalbox API</title>
    <meta name="viewport" content="width=device-width"><style>${raw(STYLE)}</style></head><body>
    <h1>Signalbox API</h1>
    <p>Also available as <a href="/openapi.json">OpenAPI 3.1</a>. Send a token as <code>Authorization: Bearer …</code>;
    <code>signalbox token</code> prints one.</p>
    <h2>Routes</h2>${operations}<h2>Schemas</h2>${shapes}</body></html>`;
  return String(page);
}

function operationSection(method: string, path: string, operation: Operation) {
  const alias = aliasOf(path);
  const title = html`<code><span class="method">${method.toUpperCase()}</span>${path}</code>
    <span class="permission">${operation['x-permission'] ?? 'anyone'}</span> — ${operation.summary}`;
  const rows = operation.parameters.map(
    ({ name, in: where, required, schema }) =>
      html`<tr><td><code>${name}</code></td><td>${where}${required ? ', required' : ''}</td>
        <td><code>${linked(JSON.stringify(schema))}</code></td></tr>`,
  );
  const bodies = Object.entries(operation.requestBody?.content ?? {}).map(
    ([type, { schema }]) => html`<p>Body, ${type}</p>${json(schema)}`,
  );
  const answers = Object.entries(operation.responses).map(
    ([status, { description, content = {} }]) =>
      html`<p><b>${status}</b> ${description}</p>${Number(status) < 300 ? json(Object.values(content)[0]?.schema) : ''}`,
  );
  const also = alias ? html`<p>For the model ${DEFAULT_MODEL} also <code>${alias}</code>.</p>` : '';
  const example = html`<pre>${exampleOf(method, path, operation)}</pre>`;
  const content = html`<div>${also}${example}<table>${rows}</table>${bodies}${answers}</div>`;
  return details(title, content, `${method}-${path}`);
}

function details(title: unknown, content: unknown, id = '') {
  return html`<details id="${id}"><summary>${title}</summary>${content}</details>`;
}

function json(value: unknown) {
  return html`<pre>${linked(JSON.stringify(value, null, 2) ?? '')}</pre>`;
}

/** Returns JSON with links from references to the schemas below. */
function linked(text: string) {
  const parts = text.split(/"#\/components\/schemas\/([^"]+)"/);
  return parts.map((part, i) => (i % 2 === 0 ? part : html`"<a href="#${part}">${part}</a>"`));
}

/** Returns a command with the examples of the schemas. The user has to write the body. */
function exampleOf(method: string, path: string, { parameters, requestBody, ...operation }: Operation): string {
  const examples = new Map(parameters.map(({ name, schema }) => [name, (schema as { example?: string }).example]));
  const address = path.replace(/\{(\w+)\}/g, (whole, name) => examples.get(name) ?? whole);
  const types = Object.keys(requestBody?.content ?? {});
  const words = [
    'curl',
    method === 'get' ? '' : `-X ${method.toUpperCase()}`,
    operation['x-permission'] ? '-H "Authorization: Bearer $TOKEN"' : '',
    types[0] === undefined ? '' : `-H 'Content-Type: ${types[0]}' --data-binary @body`,
    `http://127.0.0.1:8080${address}`,
  ];
  return words.filter((word) => word !== '').join(' ');
}
