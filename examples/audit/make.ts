/** `node examples/audit/make.ts > examples/audit/month.jsonl`: writes the month of docs/audit.md as an exported log. */
import { exportLog } from '../../src/proof/export.ts';
import { sourceOf } from '../../test/support/logbook.ts';
import { month } from './month.ts';

const now = new Date('2026-04-01T00:00:00.000Z');
const write = async (bytes: Buffer) => void process.stdout.write(bytes);
await exportLog(sourceOf(month().messages), { now, write });
