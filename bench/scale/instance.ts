/**
 * Another instance, a process of its own: `instance.ts URL SIZE CHECKS_PER_SECOND`. For each line with a user's number
 * it writes `allowed`, then the time when the user is first denied; at the end how many checks a second it made.
 */
import { createInterface } from 'node:readline';
import { later } from '../../src/util/later.ts';
import type { Store } from '../../src/store/store.ts';
import { check } from './checks.ts';
import { nowNs } from './stats.ts';
import { openInstance, openStoreAt } from './stores.ts';
import { requestOf, type Size } from './world.ts';

const [url = '', json = '{}', wanted = '0'] = process.argv.slice(2);
const size = JSON.parse(json) as Size;
const checksPerSecond = Number(wanted);
/** Users that the load asks about. */
const WORKING_SET = Math.min(1_000, Math.floor(size.users / 2));

/** Called once facts may have changed: the next turn of the event loop sees what came of it. */
let onFeed = (): void => {};
const redis = openStoreAt(url, size.tenant);
const store: Store = {
  ...redis,
  feed: (...asked) =>
    later(redis.feed(...asked), (feed) => {
      setImmediate(() => onFeed());
      return feed;
    }),
};
const room = openInstance(store);
await room.warmUp();
// What a subscriber hears in its first moments is not what is measured.
await new Promise((done) => setTimeout(done, 200));

const requests = Array.from({ length: WORKING_SET }, (_, n) => requestOf(size, n));
let checks = 0;
const ask = async (): Promise<void> => {
  const request = requests[checks++ % requests.length];
  if (request !== undefined && !(await check(room, request)))
    throw new Error('a user of the load was denied');
};
for (let n = 0; n < requests.length; n++) await ask();
checks = 0;
const startedAt = performance.now();
const seconds = (): number => (performance.now() - startedAt) / 1_000;
const load = setInterval(() => {
  for (let due = seconds() * checksPerSecond - checks; due > 0; due--) void ask();
}, 1);

process.stdout.write('ready\n');
for await (const line of createInterface({ input: process.stdin })) {
  const request = requestOf(size, Number(line), 'user');
  if (!(await check(room, request))) throw new Error(`user ${line} is denied already`);
  const denied = new Promise<number>((done) => {
    onFeed = (): void =>
      void check(room, request).then((allowed) => {
        if (!allowed) done(nowNs());
      });
  });
  process.stdout.write('allowed\n');
  process.stdout.write(`${await denied}\n`);
}
clearInterval(load);
process.stdout.write(`${checks / seconds()}\n`);
room.close();
await redis.close();
