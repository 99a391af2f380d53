import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { calculateJwkThumbprint, exportJWK } from 'jose';

/** Generates an Ed25519 key pair in PEM (PKCS #8 and SPKI), as openssl does. */
export function generateKeyPair(): { privatePem: string; publicPem: string } {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  return { privatePem: pemOf(privateKey), publicPem: pemOf(publicKey) };
}

function pemOf(key: KeyObject): string {
  return key.export({ format: 'pem', type: key.type === 'private' ? 'pkcs8' : 'spki' }).toString();
}

/** @throws {Error} if the file has no Ed25519 private key */
export function readPrivateKey(path: string): Promise<KeyObject> {
  return readKey(path, createPrivateKey, 'private');
}

/** Also accepts a private key, which contains the public one. @throws {Error} if the file has no Ed25519 key */
export function readPublicKey(path: string): Promise<KeyObject> {
  return readKey(path, createPublicKey, 'public');
}

async function readKey(path: string, make: (pem: string) => KeyObject, kind: string): Promise<KeyObject> {
  const pem = await readFile(path, 'utf8');
  try {
    const key = make(pem);
    if (key.asymmetricKeyType === 'ed25519') return key;
  } catch (cause) {
    throw new Error(`${path} has no ${kind} key in PEM.`, { cause });
  }
  throw new Error(`The key in ${path} is not an Ed25519 key.`);
}

/** Returns the RFC 7638 thumbprint, which is the same for the private and the public key of a pair. */
export async function thumbprintOf(key: KeyObject): Promise<string> {
  return calculateJwkThumbprint(await exportJWK(key.type === 'private' ? createPublicKey(key) : key));
}
