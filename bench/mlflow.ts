import { createHash, randomBytes } from 'node:crypto';
import { INVALID_FILTER } from './lists.ts';
import { asker, rateOf } from './load.ts';
import { startMlflow } from './mlflow-server.ts';
import { median, startRegistry } from './processes.ts';
import type { Result } from './result.ts';

const MODELS = 50;
const VERSIONS = 20;
const TEAMS = ['risk', 'search', 'ads', 'fraud', 'growth'];
const FILL_MS = 120_000;
const ROUNDS = 3;
const LOOKUPS = { connections: 8, ms: 2_000 };
const REQUESTS = 100;
const MAX_MS = 9_000;
const API = '/api/2.0/mlflow';

/** A registry that does the same work as the other one. */
interface Side {
  url: string;
  headers: Record<string, string>;
  createModel(model: string): Promise<void>;
  /** The n-th version of a model, with a tag. */
  createVersion(model: string, n: number, team: string): Promise<void>;
  /** Makes the n-th version the one in production. */
  setProduction(model: string, n: number): Promise<void>;
  /** Address of the version in production. */
  production(model: string): string;
  /** Address of the versions of a model with a tag. */
  search(model: string, team: string): string;
  stop(): Promise<void>;
}

/** Compares the registry with `mlflow server`: the same work on as many models and versions, filled over the API of each. */
export async function mlflow(): Promise<Result[]> {
  const theirs = await mlflowSide().catch((error: Error) => {
    console.error(`skipped: mlflow (${error.message.split('\n')[0]})`);
    return null;
  });
  if (!theirs) return [];
  const ours = await registrySide();
  try {
    await fill(ours, await fill(theirs, MODELS));
    const searched = (await statusOf(ours, INVALID_FILTER)) === 400;
    const lookups = await inTurn(ours, theirs, (side) =>
      rateOf(side.url + side.production('model-0'), side.headers, LOOKUPS),
    );
    const moves = await inTurn(ours, theirs, (side) => timeOf((n) => side.setProduction('model-1', n % 2)));
    const searches = await inTurn(ours, theirs, searchesOf);
    return [
      ratesResult('alias lookup: GET active / MLflow', lookups),
      timesResult('setting an alias: MLflow / activation', moves),
      timesResult(`a model's versions with a tag: MLflow / ours${searched ? '' : ', all versions'}`, searches),
    ];
  } finally {
    await ours.stop();
    await theirs.stop();
  }
}

/** Creates the models with their versions, until they or the time are used up. Returns how many models were created. */
async function fill(side: Side, models: number): Promise<number> {
  const started = performance.now();
  let made = 0;
  for (; made < models && performance.now() - started < FILL_MS; made++) {
    const model = `model-${made}`;
    await side.createModel(model);
    for (let n = 0; n < VERSIONS; n++) await side.createVersion(model, n, TEAMS[n % TEAMS.length]!);
    await side.setProduction(model, 1);
  }
  const seconds = (performance.now() - started) / 1000;
  console.error(`${side.url}: ${made} models with ${VERSIONS} versions each in ${seconds.toFixed(1)} s`);
  return made;
}

async function statusOf({ url, headers }: Side, path: string): Promise<number> {
  const answer = await fetch(url + path, { headers });
  await answer.arrayBuffer();
  return answer.status;
}

interface Pair {
  ours: number;
  theirs: number;
}

/** Measures both in turn; returns the medians. */
async function inTurn(ours: Side, theirs: Side, measure: (side: Side) => Promise<number>): Promise<Pair> {
  const found = { ours: [] as number[], theirs: [] as number[] };
  for (let round = 0; round < ROUNDS; round++) {
    found.ours.push(await measure(ours));
    found.theirs.push(await measure(theirs));
  }
  return { ours: median(found.ours), theirs: median(found.theirs) };
}

async function searchesOf({ url, headers, search }: Side): Promise<number> {
  const { ask, end } = asker(url, headers);
  const took = await timeOf(async () => {
    const { status } = await ask('GET', search('model-2', 'risk'));
    if (status !== 200) throw new Error(`${status} for ${search('model-2', 'risk')}`);
  });
  end();
  return took;
}

/** Returns the median duration of an action, in ms. */
async function timeOf(action: (n: number) => Promise<void>): Promise<number> {
  const times: number[] = [];
  const until = performance.now() + MAX_MS / ROUNDS;
  for (let n = 0; n < REQUESTS && performance.now() < until; n++) {
    const started = performance.now();
    await action(n);
    times.push(performance.now() - started);
  }
  return median(times);
}

function ratesResult(name: string, { ours, theirs }: Pair): Result {
  const detail = `${Math.round(ours)} and ${Math.round(theirs)} a second`;
  return { name, ratio: ours / theirs, aim: '≥ 1', detail };
}

function timesResult(name: string, { ours, theirs }: Pair): Result {
  return { name, ratio: theirs / ours, aim: '≥ 1', detail: `${theirs.toFixed(1)} ms and ${ours.toFixed(2)} ms` };
}

async function mlflowSide(): Promise<Side> {
  const { url, stop } = await startMlflow();
  const { ask, end } = asker(url, {});
  const post = async (path: string, body: object) => accepted(await ask('POST', API + path, body));
  return {
    url,
    headers: {},
    createModel: (name) => post('/registered-models/create', { name }),
    createVersion: (name, n, team) =>
      post('/model-versions/create', {
        name,
        source: `s3://models/${name}/${n}`,
        tags: [{ key: 'team', value: team }],
      }),
    setProduction: (name, n) => post('/registered-models/alias', { name, alias: 'production', version: String(n + 1) }),
    production: (name) => `${API}/registered-models/alias?name=${name}&alias=production`,
    search: (name, team) =>
      `${API}/model-versions/search?${new URLSearchParams({ filter: `name='${name}' and tags.team='${team}'` })}`,
    async stop() {
      end();
      await stop();
    },
  };
}

async function registrySide(): Promise<Side> {
  const { url, headers, stop } = await startRegistry();
  const artifact = await uploaded(url, headers);
  const { ask, end } = asker(url, headers);
  const post = async (path: string, body: object) => accepted(await ask('POST', path, body));
  const versionsOf = (model: string) => `/api/models/${model}/versions`;
  return {
    url,
    headers,
    createModel: async () => undefined, // the first version creates it
    createVersion: (model, n, team) =>
      post(versionsOf(model), { version: `1.${n}.0`, artifacts: [artifact], requires: {}, tags: { team } }),
    setProduction: (model, n) => post(`${versionsOf(model)}/1.${n}.0/activate`, {}),
    production: (model) => `${versionsOf(model)}/active?environment=production`,
    search: (model, team) => `${versionsOf(model)}?${new URLSearchParams({ where: `tags.team = '${team}'` })}`,
    async stop() {
      end();
      await stop();
    },
  };
}

async function uploaded(url: string, headers: Record<string, string>) {
  const body = randomBytes(4_096);
  const digest = `sha256:${createHash('sha256').update(body).digest('hex')}`;
  const answer = await fetch(`${url}/api/blobs/${digest}`, { method: 'PUT', headers, body });
  if (!answer.ok) throw new Error(await answer.text());
  return { path: 'model.joblib', digest, size: body.length };
}

function accepted({ status, body }: { status: number; body: Buffer }): void {
  if (status !== 200 && status !== 201) throw new Error(`${status} ${body.toString('utf8', 0, 200)}`);
}
