import { PublishBody, type PublishInput } from '../../commands/publish.ts';
import { Problem } from '../../domain/errors.ts';
import { MAX_MANIFEST_BYTES } from '../../domain/manifest.ts';
import { check } from '../server/input.ts';

/**
 * Parses a manifest. The size is checked first, as the schema takes time for each invalid field.
 *
 * @throws {Problem} too-large, invalid-request
 */
export function checkManifest(json: unknown, where: string): PublishInput {
  const { notes: _, ...manifest } = Object(json) as { notes?: unknown };
  if (sizeOf(manifest, where) <= MAX_MANIFEST_BYTES) return check(PublishBody, json, where);
  throw new Problem('too-large', `The manifest is larger than ${MAX_MANIFEST_BYTES} bytes.`);
}

function sizeOf(value: unknown, where: string): number {
  try {
    return Buffer.byteLength(JSON.stringify(value));
  } catch (cause) {
    // Parsed JSON can always be serialized unless it is nested too deeply for the stack.
    throw new Problem('invalid-request', `The ${where} is nested too deeply.`, {}, cause);
  }
}
