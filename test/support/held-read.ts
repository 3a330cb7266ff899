/** A process of its own that reads the store and never ends to: `held-read.ts DIRECTORY`. It is killed. */
import { writeSync } from 'node:fs';
import { openEmbeddedStore } from '../../src/store/embedded/store.ts';

const store = openEmbeddedStore(process.argv[2] ?? '');
await store.get('t', [{ kind: 'user', id: 'large' }]);
writeSync(1, 'reading\n');
// Busy, so that the library does not let go of its snapshot between two turns.
for (;;) await Promise.resolve();
