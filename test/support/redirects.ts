import { type HttpProxy, type Seen, startProxy } from '../loader/proxy.ts';
import { emptyProgram } from '../program/support.ts';
import type { Ends } from './folder.ts';
import type { Program } from './program.ts';
import { startSeaweedFs } from './seaweedfs.ts';

/** A registry whose artifacts are in S3, and what a test sees of the traffic to both. */
export interface Redirecting {
  program: Program;
  /** Everybody reaches the store through it. */
  store: HttpProxy;
  /** Returns a new proxy of the registry for a loader, and takes back what an earlier test did to the store. */
  begin(): Promise<HttpProxy>;
}

export async function startRedirecting(ends: Ends): Promise<Redirecting> {
  const { endpoint, bucket, env, stop } = await startSeaweedFs();
  ends(stop);
  const store = await startProxy(endpoint, ends);
  const address = `s3://${bucket}/redirects?endpoint=${store.url}`;
  const program = await emptyProgram(ends, { REGISTRY_ARTIFACTS: address, ...env });
  const begin = () => {
    Object.assign(store, { target: endpoint, tamper: () => null, requests: [] });
    return startProxy(program.url);
  };
  return { program, store, begin };
}

/** Whether a loader sent a request to the store: the registry itself signs headers. */
export const fromLoader = (seen: Seen) => seen.path.includes('X-Amz-Signature');
export const acceptsRedirect = ({ headers }: Seen) => headers['signalbox-redirect'] === 'accept';

export function statuses({ requests }: HttpProxy, which: (seen: Seen) => boolean = () => true) {
  return requests.filter(which).map(({ status }) => status);
}

export function rangesOf({ requests }: HttpProxy, which: (seen: Seen) => boolean = () => true) {
  return requests.filter(which).map(({ headers }) => headers.range ?? null);
}
