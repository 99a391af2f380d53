import { expect, it } from 'vitest';
import type { Digest } from '../../../src/domain/digest.ts';
import { Problem } from '../../../src/domain/errors.ts';
import { artifactsOf, versionForm } from '../../program/support.ts';
import { createTestApp, tokenOf } from '../support.ts';

const admin = await tokenOf('ana', 'admin');

it.each([
  ['version-exists', 409],
  ['outcome-unknown', 503],
] as const)('keeps the bytes of a form if the command ends with %s', async (code, status) => {
  const execute = () => Promise.reject(new Problem(code, 'as the log says'));
  const { request, services } = await createTestApp({ execute });
  const files = { 'model.bin': code };
  const form = new Response(versionForm({ version: '2.0.0' }, files));
  const headers = { ...admin, 'Content-Type': form.headers.get('content-type')! };
  const answer = await request('/api/models/fraud/versions', { method: 'POST', headers, body: await form.text() });
  expect(answer.status).toBe(status);
  expect(await services.artifacts.store.stat(artifactsOf(files)[0]!.digest as Digest)).not.toBeNull();
});
