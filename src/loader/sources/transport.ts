import { clientTokens } from '../../access/client-token.ts';
import { createClient } from '../../client/client.ts';
import type { LoaderConfig } from '../../config.ts';
import { connectNats, type Nats, parseNatsUrl } from '../../log/connection.ts';
import { openReports } from '../../log/reports.ts';
import type { LoaderLog } from '../log.ts';
import type { SendReport } from '../reporter.ts';
import { httpSource } from './http.ts';
import { natsSource } from './nats.ts';
import type { Source } from './source.ts';

/** A loader's connections: for targets, and for its reports. */
export interface Transport {
  source: Source;
  send: SendReport;
  close(): Promise<void>;
}

/** Chooses by the endpoint's scheme: the registry over HTTP, or the log itself. */
export function openTransport(config: LoaderConfig, instance: string, log: LoaderLog): Transport {
  const { HOT_RELOAD_ENDPOINT: endpoint } = config;
  return endpoint && !/^https?:/.test(endpoint)
    ? overNats(endpoint, config, instance, log)
    : overHttp(endpoint, config, instance, log);
}

function overHttp(endpoint: string | undefined, config: LoaderConfig, instance: string, log: LoaderLog): Transport {
  const { REGISTRY_DSN: dsn, REGISTRY_MODEL: model, REGISTRY_ENVIRONMENT: environment } = config;
  const { origin, pathname, search } = new URL(endpoint ?? `${dsn.replace(/\/$/, '')}/api/models/${model}/events`);
  const events = createClient({ dsn: origin, token: clientTokens({ ...config, REGISTRY_DSN: origin }) });
  const registry = createClient({ dsn, token: clientTokens(config) });
  const path = `/api/models/${model}/loaders/${instance}`;
  return {
    source: httpSource({ client: events, path: pathname + search, model, environment, log }),
    send: (report, signal) => registry.call('PUT', path, { json: report, signal }),
    close: async () => {},
  };
}

/** Connects in the background: a service can start while NATS is unavailable. */
function overNats(endpoint: string, config: LoaderConfig, instance: string, log: LoaderLog): Transport {
  const { REGISTRY_MODEL: model, REGISTRY_ENVIRONMENT: environment } = config;
  let nats: Nats | null = null;
  const stop = new AbortController();
  const connecting = connectNats(parseNatsUrl(endpoint), `signalbox-loader ${instance}`, stop.signal);
  const connected = connecting.then((connection) => {
    nats = connection;
    return { nats: connection, reports: openReports(connection, { create: false }) };
  });
  connected.catch((err: unknown) => stop.signal.aborted || log.error({ err }, 'the log cannot be followed'));
  return {
    source: {
      async *follow(held, signal) {
        const aborted = Promise.withResolvers<null>();
        signal.addEventListener('abort', () => aborted.resolve(null), { once: true });
        const there = await Promise.race([connected.catch(() => aborted.promise), aborted.promise]);
        if (there) yield* natsSource({ nats: there.nats, model, environment, log }).follow(held, signal);
      },
    },
    async send(report) {
      if (!nats) throw new Error('NATS is not connected yet');
      await (await connected).reports.put(model, instance, report);
    },
    async close() {
      stop.abort();
      if (nats) await nats.nc.close();
      else void connecting.then(({ nc }) => nc.close()).catch(() => {});
    },
  };
}
