import { stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { nameOf, type StoreAddress } from '../artifacts/address.ts';
import { type Copies, noCopies } from '../artifacts/copies.ts';
import { openStore, type RemoteStore } from '../artifacts/open.ts';
import { claim, ForeignStore, logOf } from '../artifacts/owner.ts';
import type { ArtifactStore } from '../artifacts/store.ts';
import { openFolderStore } from '../artifacts/stores/folder.ts';
import type { Writer } from '../artifacts/writer.ts';
import { Problem } from '../domain/errors.ts';
import { ifMissing } from '../files/errno.ts';
import { readPosition } from '../projections/volume/position-file.ts';
import type { OpenLog } from '../proof/open.ts';
import { connectTo } from './artifacts.ts';

/** How a command opens stores, beside a registry that uses them or without one. */
export interface StoreOptions {
  /** The folder that `file:` is. */
  volume: string;
  /** Connects to the log, for `nats:`. */
  openLog(): Promise<OpenLog>;
  writer: Writer;
}

/** A store that a command has opened. */
export interface CommandStore {
  /** For messages. */
  name: string;
  /** Null if it is not a folder. */
  folder: string | null;
  store: RemoteStore;
  close(): Promise<void>;
}

/** @throws {Error} if it cannot be opened; most stores show only later whether they can be reached */
export async function openCommandStore(address: StoreAddress, options: StoreOptions): Promise<CommandStore> {
  const place = placeOf(address, options.volume);
  const folder = place.kind === 'file' ? place.folder : null;
  const log = place.kind === 'nats' && place.url === null ? await options.openLog() : null;
  try {
    const store = await openStore(place, { nats: log?.nats.nc ?? null, connectTo, writer: options.writer });
    const close = () => store.close().finally(() => log?.close());
    return { name: nameOf(place), folder, store, close };
  } catch (error) {
    await log?.close();
    throw error;
  }
}

/**
 * Opens the store of a registry, and the blobs on its volume: the store itself, or copies of what is in it.
 *
 * @throws {Problem} not-found if the volume is the store, and has no blobs
 */
export async function openScrubbed(
  address: StoreAddress,
  options: StoreOptions,
): Promise<{ store: ArtifactStore; copies: Copies; close(): Promise<void> }> {
  const volume = resolve(options.volume);
  await checkSource(address, volume);
  const copies = (await hasBlobs(volume)) ? await openFolderStore(volume, options.writer) : null;
  const place = placeOf(address, volume);
  if (copies && place.kind === 'file' && place.folder === volume)
    return { store: copies, copies, close: async () => {} };
  const { store, close } = await openCommandStore(address, options);
  return { store, copies: copies ?? noCopies, close };
}

/** Returns an address whose folder, if it is one, is absolute. */
export function placeOf(address: StoreAddress, volume: string): StoreAddress {
  return address.kind === 'file' ? { kind: 'file', folder: resolve(address.folder ?? volume) } : address;
}

/** Opening a folder as a store makes it one, so a mistyped path is found before. @throws {Problem} not-found */
export async function checkSource(address: StoreAddress, volume: string): Promise<void> {
  const place = placeOf(address, volume);
  if (place.kind !== 'file' || (await hasBlobs(place.folder!))) return;
  throw new Problem('not-found', `There are no artifacts in ${nameOf(place)}: it has no folder blobs/sha256.`);
}

function hasBlobs(folder: string): Promise<boolean> {
  return stat(join(folder, 'blobs', 'sha256')).then((found) => found.isDirectory(), ifMissing(false));
}

/**
 * Makes a target belong to the log of a source, if both are known. A registry claims a target without a log at its first start.
 *
 * @throws {Problem} store-unavailable if the target belongs to another log
 */
export async function passOwner(from: CommandStore, to: CommandStore): Promise<void> {
  const log = await logShownBy(from);
  if (log === null) return;
  const shown = to.folder === null ? null : await volumeLog(to.folder);
  if (shown !== null && shown !== log) throw new ForeignStore(to.name, shown);
  // A volume states its log itself.
  if (shown === null) await claim(to.store, to.name, { epoch: log, provisional: log }, false);
}

async function logShownBy({ folder, store }: CommandStore): Promise<string | null> {
  return (folder === null ? null : await volumeLog(folder)) ?? logOf(store);
}

async function volumeLog(folder: string): Promise<string | null> {
  return (await readPosition(folder))?.epoch ?? null;
}
