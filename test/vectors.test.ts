import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { canonicalManifest, digestOf, type Manifest } from '../src/domain/manifest.ts';
import { checkRuntime, constraintFrom, isPythonRange, type Requires, type Runtime } from '../src/domain/requires.ts';
import { describeFolder } from '../src/files/describe.ts';
import { acceptanceOf, type FollowedPosition } from '../src/loader/position.ts';
import { checkRequires } from '../src/loader/runtime.ts';
import { temporaryFolder } from './support/folder.ts';
import folders from './vectors/describe.json' with { type: 'json' };
import requirements from './vectors/requires.json' with { type: 'json' };
import targets from './vectors/targets.json' with { type: 'json' };

// clients/python/tests/test_vectors.py runs the same vectors.

type Content = string | { before?: string; text: string; times: number; after?: string };

interface FolderVector {
  name: string;
  files: Record<string, Content>;
  error?: true;
  paths: string[];
  /** The fields that differ from `EMPTY`. */
  manifest: Partial<Manifest>;
  manifest_digest: string;
}

const EMPTY = { flavor: 'custom', requires: {}, metrics: {}, params: {}, tags: {}, lineage: {}, signature: null };

describe('a folder is described as', () => {
  test.each(folders as unknown as FolderVector[])('$name', async (vector) => {
    const folder = await folderOf(vector.files);
    if (vector.error) return expect(describeFolder(folder)).rejects.toThrow();
    const manifest = await describeFolder(folder);
    const { artifacts, ...fields } = manifest;
    // As JSON, which has no -0.
    expect(JSON.parse(JSON.stringify(fields))).toEqual({ ...EMPTY, ...vector.manifest });
    expect(artifacts.map(({ path }) => path)).toEqual(vector.paths);
    expect(digestOf(canonicalManifest(manifest))).toBe(vector.manifest_digest);
  });
});

async function folderOf(files: Record<string, Content>): Promise<string> {
  const folder = await temporaryFolder();
  for (const [path, content] of Object.entries(files)) {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), textOf(content));
  }
  return folder;
}

function textOf(content: Content): string {
  if (typeof content === 'string') return content;
  return `${content.before ?? ''}${content.text.repeat(content.times)}${content.after ?? ''}`;
}

describe('requirements and a runtime', () => {
  test.each(requirements.requires as { name: string; requires: Requires; runtime: Runtime; unmet: string[] }[])(
    '$name',
    ({ requires, runtime, unmet }) => {
      expect(unmetOf(() => checkRequires(requires, runtime)).toSorted()).toEqual(unmet.toSorted());
    },
  );
});

function unmetOf(check: () => void): string[] {
  try {
    check();
    return [];
  } catch (error) {
    return (error as Error).message.split('; ').map((part) => part.split(' ')[0]!);
  }
}

describe('a version and PEP 440 specifiers', () => {
  test.each(requirements.specifiers as [string, string, boolean | 'invalid'][])(
    '%s %s: %s',
    (python, range, expected) => {
      const satisfied = checkRuntime({ python: range }, { python }, 'loader').mismatches.length === 0;
      expect(isPythonRange(range) ? satisfied : 'invalid').toBe(expected);
    },
  );
});

describe('a version in metadata as a constraint', () => {
  test.each(requirements.constraints as [string, string | null][])('%j: %j', (text, expected) => {
    expect(constraintFrom(text)).toBe(expected);
  });
});

interface TargetVector {
  held: Omit<FollowedPosition, 'id'> | null;
  message: Omit<FollowedPosition, 'id'>;
  reset: boolean;
  acceptance: string;
}

describe('which target wins', () => {
  test.each(targets as (TargetVector & { name: string })[])('$name', ({ held, message, reset, acceptance }) => {
    expect(acceptanceOf(message, held && { ...held, id: '' }, reset)).toBe(acceptance);
  });
});
