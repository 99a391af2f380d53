import { AckPolicy, DeliverPolicy } from '@nats-io/jetstream';
import { nanos } from '@nats-io/transport-node';
import { abortable } from '../../../structures/abortable.ts';
import { parseMeta, type StoredMeta } from './meta.ts';
import { METAS, OBJECTS, type ObjectStream } from './stream.ts';

const PAGE = 500;
const PAGE_MS = 5_000;
/** How long the caller may take for a page. */
const UNUSED_MS = 15 * 60_000;

/**
 * Yields the descriptions of all objects by ascending revision, those included that other clients marked as deleted. An
 * object that is renewed meanwhile may come twice.
 */
export async function* listMetas({ js, jsm }: ObjectStream, signal: AbortSignal): AsyncGenerator<StoredMeta> {
  const { name, num_pending } = await abortable(jsm.consumers.add(OBJECTS, consumerConfig), signal);
  try {
    const consumer = await abortable(js.consumers.get(OBJECTS, name), signal);
    let pending = num_pending;
    while (pending > 0) {
      const page: StoredMeta[] = [];
      const wanted = Math.min(PAGE, pending);
      for await (const m of await consumer.fetch({ max_messages: wanted, expires: PAGE_MS })) {
        signal.throwIfAborted();
        const modified = Number(m.timestampNanos / 1_000_000n);
        page.push({ meta: parseMeta(m.string()), revision: m.seq, modified });
        pending = m.info.pending;
      }
      yield* page;
      if (page.length === wanted) continue;
      // Fewer come if some were deleted since.
      pending = (await abortable(consumer.info(), signal)).num_pending;
      if (page.length === 0 && pending > 0) throw new Error(`the server did not send the list for ${PAGE_MS} ms`);
    }
  } finally {
    await jsm.consumers.delete(OBJECTS, name).catch(() => {});
  }
}

const consumerConfig = {
  filter_subject: `${METAS}>`,
  deliver_policy: DeliverPolicy.LastPerSubject,
  ack_policy: AckPolicy.None,
  inactive_threshold: nanos(UNUSED_MS),
  mem_storage: true,
  num_replicas: 1,
};
