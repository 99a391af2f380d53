import { clientTokens } from '../../access/client-token.ts';
import type { Page } from '../../api/page.ts';
import type { ActiveView, ModelView, VersionView } from '../../api/views.ts';
import type { Answer } from '../../audit/reports/against.ts';
import { createClient, type RegistryClient, RegistryUnreachable } from '../../client/client.ts';
import { clientVariables, readConfig } from '../../config.ts';
import { Problem } from '../../domain/errors.ts';

/**
 * Reads the models (all if `models` is empty), their versions and what is active from the registry at `url`. Each answer
 * has the revision that it was computed at.
 *
 * @throws {RegistryUnreachable}, {Problem} from the registry
 */
export async function answersOf(url: string, models: string[]): Promise<Answer[]> {
  const config = { ...readConfig(clientVariables, process.env), REGISTRY_DSN: url };
  const client = createClient({ dsn: url, token: clientTokens(config) });
  const answers: Answer[] = [];
  const listed: ModelView[] = [];
  for await (const { revision, entries } of pagesOf<ModelView>(client, '/api/models', 'models')) {
    const wanted = entries.filter(({ model }) => models.length === 0 || models.includes(model));
    listed.push(...wanted);
    answers.push({ revision, kind: 'models', models: wanted });
  }
  for (const { model, active } of listed) {
    const versions = `/api/models/${encodeURIComponent(model)}/versions`;
    for await (const { revision, entries } of pagesOf<VersionView>(client, versions, 'versions')) {
      answers.push({ revision, kind: 'versions', model, versions: entries });
    }
    for (const environment of Object.keys(active)) {
      const answer = await activeIn(client, `${versions}/active`, model, environment);
      if (answer) answers.push(answer);
    }
  }
  return answers.sort((a, b) => a.revision - b.revision);
}

/** Null if no version is active. */
async function activeIn(
  client: RegistryClient,
  path: string,
  model: string,
  environment: string,
): Promise<Answer | null> {
  try {
    const response = await client.open(path, { query: { environment } });
    const { version, manifest_digest, activated } = (await response.json()) as ActiveView;
    const { at, by, reason, revision } = activated;
    const active = { version, manifest_digest, activated: { at, by, reason, revision } };
    return { revision: revisionOf(response), kind: 'active', model, environment, active };
  } catch (error) {
    if (error instanceof Problem && error.code === 'no-active-version') return null;
    throw error;
  }
}

async function* pagesOf<T>(client: RegistryClient, path: string, key: string) {
  let page_token: string | undefined;
  do {
    const response = await client.open(path, { query: { page_size: 1000, page_token } });
    const page = (await response.json()) as Page<string, T>;
    yield { revision: revisionOf(response), entries: page[key]! };
    page_token = page.next_page_token ?? undefined;
  } while (page_token !== undefined);
}

/** The last part of `Registry-Revision`. For other clients the header is opaque. */
function revisionOf(response: Response): number {
  const [, revision] = /-(\d+)$/.exec(response.headers.get('registry-revision') ?? '') ?? [];
  if (revision !== undefined) return Number(revision);
  throw new RegistryUnreachable(`${response.url} answered without the header Registry-Revision.`);
}
