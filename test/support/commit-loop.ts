/**
 * A process of its own that commits until it is killed: `commit-loop.ts DIRECTORY TENANT [COMMITS]`.
 * Each commit writes its revision into several records, which must agree ever after, and once it is
 * acknowledged the revision is written to standard output.
 */
import { writeSync } from 'node:fs';
import { openEmbeddedStore } from '../../src/store/embedded/store.ts';
import { counters, EVENT } from './records.ts';

const [directory = '', tenant = '', commits = 'Infinity'] = process.argv.slice(2);
const store = openEmbeddedStore(directory);
writeSync(1, 'open\n');
for (let done = 0; done < Number(commits);) {
  const expected = (await store.get(tenant, [])).head?.revision ?? 0;
  const changes = counters(expected + 1);
  const result = await store.commit({ tenant, expected, changes, event: EVENT });
  if (!result.committed) continue;
  writeSync(1, `${result.head.revision}\n`);
  done++;
}
await store.close();
