#!/usr/bin/env node
// An old Node fails with a stack trace while it imports the rest, so this check comes first.
import { isNodeTooOld, MINIMUM_NODE } from '../node-version.ts';

const { node } = process.versions;
if (isNodeTooOld(node)) {
  process.stderr.write(
    `signalbox: Node ${node} (${process.execPath}) is too old. Signalbox needs Node ${MINIMUM_NODE} or newer. Install it from https://nodejs.org; in a clone, "npx signalbox" uses the clone's own Node.\n`,
  );
  process.exitCode = 1;
} else {
  void import('./program.ts');
}
