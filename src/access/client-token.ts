import { userInfo } from 'node:os';
import { Problem } from '../domain/errors.ts';
import { actorNameProblem } from './actor-name.ts';
import { isLoopback } from './loopback.ts';
import { readSecret, secretFile } from './secret.ts';
import { signToken } from './tokens.ts';

/** The variables from which a client takes its token. */
export interface TokenSource {
  REGISTRY_DSN: string;
  REGISTRY_TOKEN?: string | undefined;
  REGISTRY_VOLUME: string;
  /** Replaces the volume's own secret. */
  REGISTRY_JWT_SECRET?: readonly string[] | undefined;
}

const LOCAL_SECONDS = 600;

/**
 * Returns a function that returns REGISTRY_TOKEN if it is set, else a token signed with the secret of the registry on this
 * machine. The signed token is sent only to loopback addresses, and is replaced before it expires.
 */
export function clientTokens(source: TokenSource): () => Promise<string> {
  if (source.REGISTRY_TOKEN !== undefined) return async () => source.REGISTRY_TOKEN!;
  let made: { token: Promise<string>; at: number } | null = null;
  return () => {
    const now = performance.now();
    if (made && now - made.at < LOCAL_SECONDS * 500) return made.token;
    const token = localTokenFor(source);
    made = { token, at: now };
    token.catch(() => {
      made = null;
    });
    return token;
  };
}

async function localTokenFor(config: TokenSource): Promise<string> {
  if (!isLoopback(new URL(config.REGISTRY_DSN).hostname))
    throw new Problem('unauthenticated', `No token for ${config.REGISTRY_DSN}.`);
  return localToken(config, { role: 'admin', seconds: LOCAL_SECONDS });
}

/** @throws {Problem} unauthenticated if there is no secret on this machine, or this user may not read it */
export async function localToken(
  source: Pick<TokenSource, 'REGISTRY_VOLUME' | 'REGISTRY_JWT_SECRET'>,
  { role, seconds, actor = localActor() }: { role: string; seconds: number; actor?: string },
): Promise<string> {
  return signToken(await localSecret(source), { actor, role }, seconds, new Date());
}

/** Returns the user's name, with a prefix if it is reserved: services often run as a user called registry. */
export function localActor(username = userInfo().username): string {
  return actorNameProblem(username) === null ? username : `local:${username}`;
}

async function localSecret({
  REGISTRY_VOLUME: volume,
  REGISTRY_JWT_SECRET: configured,
}: Parameters<typeof localToken>[0]): Promise<Uint8Array> {
  if (configured?.[0]) return Buffer.from(configured[0]);
  const secret = await readSecret(volume).catch((cause: unknown) => {
    throw new Problem('unauthenticated', `${secretFile(volume)} cannot be read.`, {}, cause);
  });
  if (!secret) throw new Problem('unauthenticated', `No token, and no secret at ${secretFile(volume)}.`);
  return secret;
}
