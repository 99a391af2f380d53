import { S3Client, type S3ClientConfig } from '@aws-sdk/client-s3';
import { nameOf, type StoreAddress } from '../../address.ts';
import { explained, isExpired, noRegion } from './errors.ts';

export type S3Address = Extract<StoreAddress, { kind: 's3' }>;

/** Slow readers of blobs hold a connection each. The SDK's default of 50 would let them block all other requests. */
const SOCKETS = { maxSockets: 500 };
const CONNECT_MS = 5_000;

export interface S3Timeouts {
  /** The longest time in ms that one attempt of a short request takes; the SDK makes three. */
  answer: number;
  /** The longest time in ms without a byte in any request. */
  idle: number;
}

/** Sends the requests of a bucket. */
export interface S3 {
  /** @throws {Problem} store-unavailable; the SDK's error if an object or an upload does not exist */
  ask<T>(request: (client: S3Client) => Promise<T>): Promise<T>;
  /** Returns the options of a short request. */
  short(signal: AbortSignal): { abortSignal: AbortSignal; requestTimeout: number };
  close(): void;
}

export function createS3(address: S3Address, timeouts: S3Timeouts): S3 {
  const config = configOf(address, timeouts);
  const name = nameOf(address);
  let client = clientOf(config);
  return {
    async ask(request) {
      const used = client;
      await used.config.region().catch((error: unknown) => {
        throw noRegion(name, error);
      });
      try {
        return await request(used);
      } catch (error) {
        if (!isExpired(error)) throw explained(name, error);
        // The SDK keeps credentials that do not state when they expire. The connections stay, as others use them.
        if (client === used) client = clientOf({ ...config, requestHandler: used.config.requestHandler });
        return await request(client).catch((again: unknown) => {
          throw explained(name, again);
        });
      }
    },
    short: (abortSignal) => ({ abortSignal, requestTimeout: timeouts.answer }),
    close: () => client.destroy(),
  };
}

function configOf({ endpoint, region }: S3Address, { idle }: S3Timeouts): S3ClientConfig {
  const custom = endpoint && {
    endpoint,
    // A server of one's own seldom has a host name for each bucket, or regions.
    forcePathStyle: true,
    region: region || process.env.AWS_REGION || 'us-east-1',
  };
  return {
    ...(region && { region }),
    ...custom,
    // The SDK's own CRC32 is refused by some storages, and halves the speed of downloads. Blobs have their SHA-256.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    // With `Expect: 100-continue`, the SDK opens a connection for every part.
    expectContinueHeader: false,
    requestHandler: {
      connectionTimeout: CONNECT_MS,
      socketTimeout: idle,
      throwOnRequestTimeout: true,
      httpAgent: SOCKETS,
      httpsAgent: SOCKETS,
    },
  };
}

function clientOf(config: S3ClientConfig): S3Client {
  const client = new S3Client(config);
  // Signs with the SHA-256 that a request states for its body, instead of hashing the body again.
  client.middlewareStack.add(
    (next) => async (args) => {
      const { headers } = args.request as { headers: Record<string, string> };
      const sha256 = headers['x-amz-checksum-sha256'];
      if (sha256) headers['x-amz-content-sha256'] = Buffer.from(sha256, 'base64').toString('hex');
      return next(args);
    },
    { step: 'build', name: 'signWithChecksum' },
  );
  return client;
}
