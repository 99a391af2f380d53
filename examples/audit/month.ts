import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { activate } from '../../src/commands/activate.ts';
import { archive } from '../../src/commands/archive.ts';
import { deactivate } from '../../src/commands/deactivate.ts';
import { declareRuntime } from '../../src/commands/declare-runtime.ts';
import { notes } from '../../src/commands/notes.ts';
import { publish } from '../../src/commands/publish.ts';
import { rollback } from '../../src/commands/rollback.ts';
import { unarchive } from '../../src/commands/unarchive.ts';
import { createLogbook, type Given } from '../../test/support/logbook.ts';

/** A line of story.txt: `03-03 14:40 ben rollback fraud production to=1.5.0 -- why`. */
const LINE = /^(\S+) (\S+) (\S+) +(\S+) +(\S+) ([^-].*?)(?: *-- (.*))?$/;

/** Returns the month of story.txt as the registry would write it. */
export function month() {
  const book = createLogbook();
  const story = readFileSync(join(import.meta.dirname, 'story.txt'), 'utf8')
    .trimEnd()
    .split('\n');
  for (const line of story) {
    const [, day, time, actor, verb, model, rest, reason] = LINE.exec(line) as unknown as string[];
    const given: Given = { at: `2026-${day}T${time}:00.000Z`, actor: actor!, context: { activationLimit: 3 } };
    const stored = run(verb!, model!, rest!.trim().split(/ +/), reason, given);
    if (stored === null) throw new Error(`The line changes nothing: ${line}`);
  }
  return book;

  function run(verb: string, model: string, words: string[], reason: string | undefined, given: Given) {
    const [name, environment] = words.filter((word) => !word.includes('='));
    const fields = Object.fromEntries(words.filter((word) => word.includes('=')).map(splitAtEquals));
    const why = reason === undefined ? {} : { reason };
    const version = name;
    switch (verb) {
      case 'publish':
        return book.give(publish, model, { version, ...contentOf(model, version!, fields) }, given);
      case 'activate':
        return book.give(activate, model, { version, environment, force: words.includes('force'), ...why }, given);
      case 'rollback': {
        const to = fields.to === undefined ? {} : { to_version: fields.to };
        const override = words.includes('override') ? ['runtime'] : [];
        return book.give(rollback, model, { environment: name, ...to, override, ...why }, given);
      }
      case 'deactivate':
        return book.give(deactivate, model, { environment: name, ...why }, given);
      case 'archive':
        return book.give(archive, model, { version, ...why }, given);
      case 'restore':
        return book.give(unarchive, model, { version, ...why }, given);
      case 'notes':
        return book.give(notes, model, { version, notes: reason }, given);
      case 'runtime': {
        const { python, ...packages } = fields;
        return book.give(declareRuntime, model, { environment: name, python, packages }, given);
      }
      default:
        throw new Error(`Unknown verb: ${verb}`);
    }
  }
}

function splitAtEquals(word: string): [string, string] {
  const at = word.indexOf('=');
  return [word.slice(0, at), word.slice(at + 1)];
}

function contentOf(model: string, version: string, { auc, sklearn }: Record<string, string>) {
  const digest = `sha256:${createHash('sha256').update(`${model} ${version}`).digest('hex')}`;
  return {
    flavor: 'sklearn',
    artifacts: [{ path: 'model.joblib', digest, size: 4096 + version.length }],
    requires: { packages: { 'scikit-learn': sklearn } },
    metrics: { auc: Number(auc) },
  };
}
