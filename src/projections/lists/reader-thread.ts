import { existsSync } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';
import { Problem } from '../../domain/errors.ts';
import { Connection, isDamage } from '../read-model/connection.ts';
import { closeQuietly } from '../read-model/file.ts';
import { type ListName, type ListQuery, runList } from './lists.ts';
import type { ListAnswer, ListRequest, ThreadData } from './reader.ts';

const CHECKPOINT_EVERY_MS = 1_000;

const { settings, ...file } = workerData as ThreadData;
let db: Connection | undefined;
let opening = -1;
let damage: unknown = null;

parentPort!.on('message', (request: ListRequest) => parentPort!.postMessage(answer(request)));
try {
  opened(file); // the checkpoints need it before the first list
} catch {
  // the first list reports it
}
setInterval(checkpoint, CHECKPOINT_EVERY_MS);

function answer(request: ListRequest): ListAnswer {
  const { id, name, query } = request;
  damage = null; // a checkpoint may have failed meanwhile
  try {
    return { id, listed: runList(opened(request), name, query as ListQuery<ListName>, settings) };
  } catch (error) {
    if (damage !== null || isDamage(error)) return { id, error: damage ?? error, damaged: true };
    if (!(error instanceof Problem)) return { id, error, damaged: false };
    return { id, problem: { code: error.code, detail: error.message, fields: error.fields } };
  }
}

function opened(request: Pick<ListRequest, 'path' | 'opening'>): Connection {
  if (db && request.opening === opening) return db;
  closeQuietly(db);
  db = undefined;
  if (!existsSync(request.path)) {
    damage = new Error('the file of the read model was deleted'); // SQLite would make an empty one
    throw damage;
  }
  db = new Connection(request.path, (error) => {
    damage = error;
  });
  opening = request.opening;
  return db;
}

/** The connection that writes would do it otherwise, at the end of a transaction. */
function checkpoint(): void {
  try {
    db?.exec('PRAGMA wal_checkpoint(PASSIVE)');
  } catch {
    // it is tried again, and the next list reports what is wrong
  }
}
