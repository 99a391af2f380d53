import { z } from 'zod';

export const MAX_SOURCE_LENGTH = 2048;

/**
 * Where the bytes of an artifact are that stay outside of the store. There is one spelling for each place, so that a prefix
 * can be compared as text: keys of buckets are not encoded, and `https:` addresses are as the URL standard writes them.
 */
export const Source = z
  .string()
  .max(MAX_SOURCE_LENGTH)
  .refine(
    isSource,
    'must be s3://bucket/key, azure://container/key, gs://bucket/key or https://host/path in its normal form, without credentials, "..", "//", "?" and "#"',
  )
  .meta({ example: 's3://datasets/models/fraud.onnx' });

const IN_BUCKET = /^(?:s3|azure|gs):\/\/[a-zA-Z0-9](?:[a-zA-Z0-9._-]{0,220}[a-zA-Z0-9])?\/(.+)$/s;

export function isSource(text: string): boolean {
  if (!text.isWellFormed() || /[?#\\]/.test(text)) return false;
  if (text.startsWith('https:')) return isHttpsSource(text);
  const key = IN_BUCKET.exec(text)?.[1];
  // An encoded "." or "/" would mean one thing to a storage and another one to a proxy before it.
  return key !== undefined && !key.includes('%') && key.split('/').every(isPlainSegment);
}

function isHttpsSource(text: string): boolean {
  const url = URL.parse(text);
  if (url?.href !== text || url.username || url.password) return false;
  return url.pathname.slice(1).split('/').every(isPlainEncodedSegment);
}

function isPlainEncodedSegment(segment: string): boolean {
  try {
    const decoded = decodeURIComponent(segment);
    return isPlainSegment(decoded) && !/[\\/]/.test(decoded);
  } catch {
    return false;
  }
}

function isPlainSegment(segment: string): boolean {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the expression matches control characters to refuse them
  return segment !== '' && segment !== '.' && segment !== '..' && !/[\u0000-\u001f\u007f-\u009f]/.test(segment);
}
