/**
 * A process of its own that commits what it is told: `commit-on-request.ts DIRECTORY TENANT`, then one JSON
 * array of changes a line on standard input. It answers with the time of the commit (epoch, ms) a line.
 */
import { createInterface } from 'node:readline';
import { openEmbeddedStore } from '../../src/store/embedded/store.ts';
import type { Change } from '../../src/store/store.ts';
import { put } from './records.ts';

const [directory = '', tenant = ''] = process.argv.slice(2);
const store = openEmbeddedStore(directory);
process.stdout.write('open\n');
for await (const line of createInterface({ input: process.stdin })) {
  await put(store, tenant, ...(JSON.parse(line) as Change[]));
  process.stdout.write(`${Date.now()}\n`);
}
await store.close();
