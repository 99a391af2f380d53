import type { StreamInfo } from '@nats-io/jetstream';
import { abortable } from '../../../structures/abortable.ts';
import { purgeChunks } from './chunks.ts';
import { listMetas } from './list.ts';
import { CHUNKS, chunksOf, OBJECTS, type ObjectStream } from './stream.ts';

/**
 * Purges the chunks that no object refers to and to which none was added since `before`: of clients that were killed in an
 * upload, and of purges that failed. Returns of how many uploads.
 */
export async function sweepChunks(stream: ObjectStream, before: number, signal: AbortSignal): Promise<number> {
  let swept = 0;
  for await (const nuids of pagesOfNuids(stream, signal)) {
    await dropReferenced(stream, nuids, signal);
    await dropNewer(stream, nuids, before, signal);
    if (nuids.size === 0) continue;
    // An upload may have been completed meanwhile.
    await dropReferenced(stream, nuids, signal);
    for (const nuid of nuids) {
      await abortable(purgeChunks(stream, nuid), signal);
      swept++;
    }
  }
  return swept;
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

async function dropReferenced(stream: ObjectStream, nuids: Set<string>, signal: AbortSignal): Promise<void> {
  for await (const { meta } of listMetas(stream, signal)) if (!meta.deleted) nuids.delete(meta.nuid);
}

async function dropNewer({ jsm }: ObjectStream, nuids: Set<string>, before: number, signal: AbortSignal) {
  for (const nuid of nuids) {
    const last = await abortable(jsm.streams.getMessage(OBJECTS, { last_by_subj: chunksOf(nuid) }), signal);
    if (!last || last.time.getTime() >= before) nuids.delete(nuid);
  }
}
