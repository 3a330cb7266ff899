/**
 * Two instances, one Redis, a writer that grants and revokes without end, and faults at random. Promise: an answer
 * is right for the revision that it names, it is never older than asked for (CONS-1), and no allow outlives an
 * acknowledged revoke by more than max_staleness (CONS-3, CONS-4), whatever happens to Redis.
 */
import { describe, expect, it } from 'vitest';
import type { UserRecord } from '../../src/engine/records.ts';
import type { Head, Store } from '../../src/store/store.ts';
import { ask } from '../support/asking.ts';
import { EVENT, put, role, user } from '../support/records.ts';
import type { RedisServer } from '../support/redis-server.ts';
import {
  endingWithEach,
  KEYS,
  redisFor,
  roomFor,
  sleep,
  storeFor,
  wireFor,
  type Wire,
  type WatchedRoom,
} from './support.ts';

const MAX_STALENESS_MS = 1_500;
const HEARTBEAT_MS = 100;
const READ_TIMEOUT_MS = 300;
/** What the machine may take between an answer and the look at the clock. */
const MARGIN_MS = 250;
const USERS = 20;
const CHECKS = 100_000;
const FAULTS = 16;
const LANES = 4;
const SEED = Number(process.env['POSTERN_CHAOS_SEED'] ?? 20_261);

const ending = endingWithEach();

/** Numbers in [0, 1), the same for the same seed. */
function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A commit gives or takes: a user's role, or what the role permits. */
interface Deed {
  /** `undefined`: the role itself. */
  readonly who: number | undefined;
  readonly grants: boolean;
}

interface Done extends Deed {
  /** When the writer knew that it was done. */
  readonly knownAt: number;
}

interface Checked {
  readonly room: number;
  readonly who: number;
  readonly allowed: boolean;
  readonly revision: number;
  readonly minRevision: number;
  readonly answeredAt: number;
}

interface Report {
  readonly checks: number;
  readonly answered: number;
  readonly allowed: number;
  readonly revisions: number;
  readonly failures: number;
  readonly faults: number;
  readonly resyncs: number;
  readonly staleAllows: readonly object[];
  readonly wrong: readonly object[];
  readonly olderThanAsked: readonly object[];
}

/** The only writer: it knows what each revision is. Commits of unknown outcome are told by the marker they leave. */
class Writer {
  readonly done = new Map<number, Done>();
  head = 0;
  failures = 0;
  readonly #store: Store;
  readonly #random: () => number;
  readonly #sent = new Map<string, Deed>();
  #stopped = false;

  constructor(store: Store, random: () => number) {
    this.#store = store;
    this.#random = random;
  }

  async begin(): Promise<void> {
    const users = Array.from({ length: USERS }, (_, who) =>
      user(`user-${who}`, { roles: ['reader'] }),
    );
    await put(this.#store, 't', role('reader', ['doc:read']), ...users);
    this.head = 1;
  }

  async run(): Promise<void> {
    for (let sequence = 0; !this.#stopped; sequence++) {
      try {
        await this.#step(String(sequence));
        await sleep(4);
      } catch {
        this.failures++;
        await sleep(20);
      }
    }
    // What is still under way ends, one way or the other.
    for (;;) {
      try {
        await sleep(500);
        await this.#look();
        return;
      } catch {
        // Redis is not back yet.
      }
    }
  }

  stop(): void {
    this.#stopped = true;
  }

  async #look(): Promise<number> {
    const { head, values } = await this.#store.get('t', [{ kind: 'user', id: 'marker' }]);
    const revision = head?.revision ?? 0;
    const marker = (values[0] as UserRecord | undefined)?.email ?? '';
    if (revision > this.head) this.#record(revision, marker);
    if (revision !== this.head) throw new Error(`Redis is at ${revision}, not at ${this.head}`);
    return revision;
  }

  #record(revision: number, marker: string): void {
    const deed = this.#sent.get(marker);
    if (deed === undefined || revision !== this.head + 1)
      throw new Error(`revision ${revision} by ${marker} is not after ${this.head}`);
    this.done.set(revision, { ...deed, knownAt: performance.now() });
    this.head = revision;
    this.#sent.clear();
  }

  async #step(sequence: string): Promise<void> {
    const expected = await this.#look();
    const who = this.#random() < 0.03 ? undefined : Math.floor(this.#random() * USERS);
    const grants = this.#random() < 0.5;
    this.#sent.set(sequence, { who, grants });
    const changes = [
      user('marker', { email: sequence }),
      who === undefined
        ? role('reader', grants ? ['doc:read'] : [])
        : user(`user-${who}`, { roles: grants ? ['reader'] : [] }),
    ];
    const result = await this.#store.commit({ tenant: 't', expected, changes, event: EVENT });
    if (result.committed) this.#record(result.head.revision, sequence);
  }
}

type Fault = (at: {
  readonly server: RedisServer;
  readonly wire: Wire;
  readonly random: () => number;
}) => Promise<void>;

const faults: readonly Fault[] = [
  async ({ server, random }) => {
    server.pause();
    await sleep(random() * 2_500);
    server.resume();
  },
  async ({ server, random }) => {
    await server.kill();
    await sleep(random() * 2_000);
    await server.restart();
  },
  async ({ wire, random }) => {
    wire.hold(random() < 0.5 ? 'both' : 'answers');
    await sleep(random() * 3_000);
    wire.mend();
  },
  async ({ wire, random }) => {
    wire.cut();
    await sleep(random() * 2_000);
    wire.mend();
  },
  async ({ server, wire, random }) => {
    // Behind the back of a reader that cannot look.
    wire.hold();
    await sleep(100);
    await server.command('XTRIM', KEYS.feed('t'), 'MAXLEN', Math.floor(random() * 3));
    await sleep(random() * 300);
    wire.mend();
  },
  async ({ server, random }) => {
    for (let round = 0; round < 5; round++) {
      await server.command('CLIENT', 'KILL', 'TYPE', random() < 0.5 ? 'normal' : 'pubsub');
      await sleep(random() * 100);
    }
  },
];

async function chaos(
  seed: number,
  wanted: {
    readonly checks: number;
    readonly faults: number;
    readonly wrap?: (store: Store) => Store;
  },
): Promise<Report> {
  const random = randomFrom(seed);
  const { wrap = (store: Store): Store => store } = wanted;
  const server = await redisFor(ending, ['appendonly yes', 'appendfsync always']);
  const wire = await wireFor(ending, server.port);
  const options = { readTimeoutMs: READ_TIMEOUT_MS, commitTimeoutMs: 1_000, connectTimeoutMs: 500 };
  const writer = new Writer(storeFor(ending, server.url, options), randomFrom(seed + 1));
  await writer.begin();
  const rooms: readonly WatchedRoom[] = [wire.url, server.url].map((url) =>
    roomFor(ending, wrap(storeFor(ending, url, options)), {
      heartbeatMs: HEARTBEAT_MS,
      maxStalenessMs: MAX_STALENESS_MS,
      storeTimeoutMs: READ_TIMEOUT_MS,
    }),
  );
  const warming = rooms.flatMap((room) =>
    Array.from({ length: USERS }, (_, who) => ask(room, { user: `user-${who}` })),
  );
  for (const answer of await Promise.all(warming)) expect(answer).toBe('ALLOWED@1');

  const state = { checks: 0, struck: 0, stopped: false };
  const checked: Checked[] = [];
  const lane = async (room: WatchedRoom, number: number): Promise<void> => {
    while (!state.stopped) {
      for (let count = 0; count < 5; count++) {
        const who = Math.floor(Math.random() * USERS);
        const minRevision = Math.random() < 0.02 ? writer.head : 0;
        const answer = await ask(room, { user: `user-${who}`, minRevision, waitMs: 100 });
        const answeredAt = performance.now();
        state.checks++;
        if (answer === 'STALE' || answer === 'UNAVAILABLE') continue;
        const [reason, revision] = answer.split('@');
        const allowed = reason === 'ALLOWED';
        checked.push({
          room: number,
          who,
          allowed,
          revision: Number(revision),
          minRevision,
          answeredAt,
        });
      }
      await sleep(5);
    }
  };
  const running = [
    writer.run(),
    ...rooms.flatMap((room, number) => Array.from({ length: LANES }, () => lane(room, number))),
  ];
  await sleep(300);
  const order = Array.from({ length: wanted.faults }, (_, at) => at % faults.length);
  order.sort(() => random() - 0.5);
  for (const at of order) {
    await faults[at]?.({ server, wire, random });
    state.struck++;
    await sleep(200 + random() * 600);
  }
  while (state.checks < wanted.checks) await sleep(50);
  // Long enough for an allow that nobody takes back to show.
  await sleep(wanted.faults === 0 ? MAX_STALENESS_MS + 2 * MARGIN_MS : 0);
  writer.stop();
  state.stopped = true;
  await Promise.all(running);
  return {
    checks: state.checks,
    answered: checked.length,
    allowed: checked.filter(({ allowed }) => allowed).length,
    revisions: writer.head,
    failures: writer.failures,
    faults: state.struck,
    resyncs: rooms.reduce((sum, room) => sum + room.stats().resyncs, 0),
    ...judge(checked, writer),
  };
}

/** Each answer against the history that the writer made. */
function judge(
  checked: readonly Checked[],
  { done, head }: Pick<Writer, 'done' | 'head'>,
): Pick<Report, 'staleAllows' | 'wrong' | 'olderThanAsked'> {
  /** By user, whether each revision allows; and for each revision when a denial of a later one must be in force. */
  const histories = Array.from({ length: USERS }, (_, who) => {
    const allows: boolean[] = [false];
    let member = true;
    let permits = true;
    for (let revision = 1; revision <= head; revision++) {
      const deed = done.get(revision);
      if (deed?.who === who) member = deed.grants;
      if (deed !== undefined && deed.who === undefined) permits = deed.grants;
      allows.push(member && permits);
    }
    const until: number[] = [];
    let next = Infinity;
    for (let revision = head; revision >= 0; revision--) {
      until[revision] = next;
      if (allows[revision] === false)
        next = Math.min(next, done.get(revision)?.knownAt ?? Infinity);
    }
    return { allows, until };
  });
  const wrong: Checked[] = [];
  const staleAllows: object[] = [];
  for (const check of checked) {
    const history = histories[check.who];
    if (history?.allows[check.revision] !== check.allowed) wrong.push(check);
    const late = check.answeredAt - (history?.until[check.revision] ?? 0);
    if (check.allowed && late > MAX_STALENESS_MS + MARGIN_MS) staleAllows.push({ ...check, late });
  }
  return {
    staleAllows: staleAllows.slice(0, 10),
    wrong: wrong.slice(0, 10),
    olderThanAsked: checked
      .filter(({ revision, minRevision }) => revision < minRevision)
      .slice(0, 10),
  };
}

describe('two instances, a writer, and faults at random', () => {
  it(
    `${CHECKS} checks: none is wrong for its revision, none is older than asked for, no allow outlives a revoke by more than max_staleness (CONS-1, CONS-3, CONS-4)`,
    { timeout: 180_000 },
    async () => {
      const report = await chaos(SEED, { checks: CHECKS, faults: FAULTS });
      expect({ seed: SEED, ...report }).toMatchObject({
        staleAllows: [],
        wrong: [],
        olderThanAsked: [],
        faults: FAULTS,
      });
      // It was worth looking at.
      expect(report.checks).toBeGreaterThanOrEqual(CHECKS);
      expect(report.answered).toBeGreaterThan(CHECKS / 4);
      expect(report.allowed).toBeGreaterThan(CHECKS / 50);
      expect(report.revisions).toBeGreaterThan(200);
      expect(report.failures).toBeGreaterThan(0);
      expect(report.resyncs).toBeGreaterThan(0);
    },
  );
});

describe('the judge', () => {
  it('sees an instance that is cut off from the feed without knowing it', async () => {
    const deaf = (store: Store): Store => {
      let known: Head | undefined;
      return {
        ...store,
        async scan(...asked) {
          const page = await store.scan(...asked);
          known ??= page.head;
          return page;
        },
        heads: (tenants) => tenants.map(() => known),
        feed: () => ({ head: known, entries: [] }),
      };
    };
    const report = await chaos(SEED, { checks: 5_000, faults: 0, wrap: deaf });
    expect(report.staleAllows.length).toBeGreaterThan(0);
    expect(report.wrong).toEqual([]);
  });

  it('sees records that are older than the revision they are said to be of', async () => {
    const forgetful = (store: Store): Store => {
      const first = new Map<string, unknown>();
      return {
        ...store,
        async get(tenant, keys) {
          const { head, values } = await store.get(tenant, keys);
          const old = values.map((value, at) => {
            const { kind = '', id = '' } = keys[at] ?? {};
            const name = `${kind} ${id}`;
            if (!first.has(name)) first.set(name, value);
            return first.get(name) as typeof value;
          });
          return { head, values: old };
        },
      };
    };
    const report = await chaos(SEED, { checks: 5_000, faults: 0, wrap: forgetful });
    expect(report.wrong.length).toBeGreaterThan(0);
  });
});
