import type { StreamInfo } from '@nats-io/jetstream';
import { abortable } from '../../../structures/abortable.ts';
import { purgeChunks } from './chunks.ts';
import { listMetas } from './list.ts';
import { findObject } from './meta.ts';
import { CHUNKS, chunksOf, KEY, OBJECTS, type ObjectStream } from './stream.ts';

/**
 * Purges the chunks that no object refers to and to which none was added since `before`: of clients that were killed in an
 * upload, and of purges that failed. Returns of how many uploads.
 */
export async function sweepChunks(stream: ObjectStream, before: number, signal: AbortSignal): Promise<number> {
  let swept = 0;
  for await (const nuids of pagesOfNuids(stream, signal)) {
    // Only saves requests: a list may miss an object that is changed meanwhile.
    for await (const { meta } of listMetas(stream, signal)) if (!meta.deleted) nuids.delete(meta.nuid);
    for (const nuid of nuids) {
      if (!(await abortable(isLeft(stream, nuid, before), signal))) continue;
      await abortable(purgeChunks(stream, nuid), signal);
      swept++;
    }
  }
  return swept;
}

/**
 * Whether chunks belong to no object. Asks the leader, which has every acknowledged write. Chunks of other clients do not say what they belong to.
 */
export async function isLeft(stream: ObjectStream, nuid: string, before: number): Promise<boolean> {
  const last = await stream.jsm.streams.getMessage(OBJECTS, { last_by_subj: chunksOf(nuid) });
  const key = last?.header.get(KEY);
  if (!last || !key || last.time.getTime() >= before) return false;
  return (await findObject(stream, key))?.meta.nuid !== nuid;
}

/** A page of the server's answer, which has at most 100,000 subjects. The client would merge all pages. */
type SubjectPage = StreamInfo & { total: number; error?: { description: string } };

async function* pagesOfNuids({ nc, timeoutMs }: ObjectStream, signal: AbortSignal): AsyncGenerator<Set<string>> {
  let offset = 0;
  for (;;) {
    const query = JSON.stringify({ subjects_filter: `${CHUNKS}>`, offset });
    const reply = await abortable(nc.request(`$JS.API.STREAM.INFO.${OBJECTS}`, query, { timeout: timeoutMs }), signal);
    const { error, total, state } = reply.json<SubjectPage>();
    if (error) throw new Error(error.description);
    const subjects = Object.keys(state.subjects ?? {});
    yield new Set(subjects.map((subject) => subject.slice(CHUNKS.length)));
    offset += subjects.length;
    if (subjects.length === 0 || offset >= total) return;
  }
}
