import type { Digest } from '../../src/domain/digest.ts';
import { sha256Hex } from '../../src/domain/digest.ts';
import type { LoaderErrorCode, LoaderReport, Target } from '../../src/domain/fleet.ts';

/** Returns a made-up digest for a version. */
export const digestOf = (version: string): Digest => `sha256:${sha256Hex(version)}`;

export function targetOf(version: string, revision: number): Target {
  return { version, manifest_digest: digestOf(version), revision };
}

export function errorOf(code: LoaderErrorCode, message = 'a reason') {
  return { code, message, at: '2026-03-03T14:05:02.120Z' };
}

/** Returns the report of a loader that has just started, with other `fields`. */
export function reportOf(fields: Partial<LoaderReport> = {}): LoaderReport {
  return {
    environment: 'production',
    host: 'scorer-3',
    pid: 4711,
    client: 'signalbox-node 0.1.0',
    state: 'starting',
    since: '2026-03-03T14:05:02.120Z',
    stale: false,
    target: null,
    current: null,
    error: null,
    load_ms: null,
    warm_up_ms: null,
    runtime: { python: '3.11.7' },
    cache: { hits: 0, misses: 0 },
    ...fields,
  };
}
