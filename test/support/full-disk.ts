/**
 * A process of its own on a disk that is full: `full-disk.ts DIRECTORY`. It tells as JSON, a line a step, what the embedded
 * store did there. Whatever is not caught ends it.
 */
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openUsage } from '../../src/identity/usage.ts';
import { openEmbeddedStore } from '../../src/store/embedded/store.ts';
import type { Store } from '../../src/store/store.ts';
import { keepUsage } from '../../src/identity/usage-writer.ts';
import { ask } from './asking.ts';
import { key, openRoom, put, user } from './records.ts';

const [directory = ''] = process.argv.slice(2);
const tell = (step: string, said: unknown): void =>
  void process.stdout.write(`${JSON.stringify({ step, said })}\n`);
const failureOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'done',
    (error: unknown) => String(error),
  );

const ballast = join(directory, 'ballast');
/** Takes all room that is left. */
const fill = (): void => {
  for (const bytes of [65_536, 4_096, 512])
    try {
      for (;;) writeFileSync(ballast, Buffer.alloc(bytes, 'x'), { flag: 'a' });
    } catch {
      // Full, for pieces of that size.
    }
};
const large = (store: Store): Promise<unknown> =>
  put(store, 't', user('large', { email: 'x'.repeat(200_000) }));

const place = join(directory, 'store');
let store = openEmbeddedStore(place);
await put(store, 't', user('alice', { superuser: true }), key('k'));
fill();
tell('a write', await failureOf(large(store)));
tell('many at once', await Promise.all(Array.from({ length: 5 }, () => failureOf(large(store)))));
const room = openRoom(store);
tell('a decision', await ask(room, { user: 'alice' }));

const usage = openUsage(() => 7);
const errors: unknown[] = [];
const flush = keepUsage(store, usage, 3_600_000, (error) => void errors.push(String(error)));
for (let at = 0; at < 3_000; at++) usage.used('t', `k${at}`);
usage.used('t', 'k');
await flush();
tell('uses', { errors: errors.length, left: usage.take().get('t')?.size ?? 0 });
room.close();
await store.close();

tell('opened again', await ask(openRoom((store = openEmbeddedStore(place))), { user: 'alice' }));
const fresh = failureOf((async () => openEmbeddedStore(join(directory, 'fresh')))());
tell('a new one', await fresh);
rmSync(ballast);
tell('with room', await failureOf(large(store)));
tell('its head', (await store.get('t', [])).head?.revision);
await store.close();
process.exit(0);
