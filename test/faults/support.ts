/** What tests of faults share: stores, rooms and servers that end with the test, and a wire that can be cut. */
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { afterAll, afterEach } from 'vitest';
import { openRedisStore, REDIS_DEFAULTS, type RedisOptions } from '../../src/store/redis/store.ts';
import { keysOf } from '../../src/store/redis/keys.ts';
import { StoreError, type Change, type Head, type Store } from '../../src/store/store.ts';
import { askWithin, type Answer, type Question } from '../support/asking.ts';
import { openRoom, put, type TestRoom } from '../support/records.ts';
import { startRedis, type RedisServer } from '../support/redis-server.ts';

export const HEARTBEAT_MS = 200;
export const MAX_STALENESS_MS = 1_500;
/** What a slow machine may add to anything. */
export const MARGIN_MS = 750;
const READ_TIMEOUT_MS = 500;
export const COMMIT_TIMEOUT_MS = 2_000;

/** Names in Redis as the stores of these tests have them. */
export const KEYS = keysOf(REDIS_DEFAULTS.keyPrefix, REDIS_DEFAULTS.shards);

export function sleep(ms: number): Promise<void> {
  return new Promise((done) => setTimeout(done, ms));
}

export interface Cleanup {
  /** Runs at the end, the last one first. */
  add<T>(thing: T, end: (thing: T) => Promise<void> | void): T;
}

function cleanup(): Cleanup & { run(): Promise<void> } {
  const ends: (() => Promise<void> | void)[] = [];
  return {
    add(thing, end) {
      ends.push(() => end(thing));
      return thing;
    },
    async run(): Promise<void> {
      for (const end of ends.splice(0).toReversed()) await end();
    },
  };
}

/** What is added ends with each test. */
export function endingWithEach(): Cleanup {
  const all = cleanup();
  afterEach(() => all.run());
  return all;
}

/** What is added ends with all tests: for those that run side by side. */
export function endingWithAll(): Cleanup {
  const all = cleanup();
  afterAll(() => all.run());
  return all;
}

export async function redisFor(
  ending: Cleanup,
  settings: readonly string[] = [],
  options: { readonly password?: string } = {},
): Promise<RedisServer> {
  return ending.add(await startRedis(settings, options), (server) => server.dispose());
}

export function storeFor(
  ending: Cleanup,
  address: string,
  options: Partial<RedisOptions> = {},
): Store {
  const store = openRedisStore({
    ...REDIS_DEFAULTS,
    address,
    readTimeoutMs: READ_TIMEOUT_MS,
    commitTimeoutMs: COMMIT_TIMEOUT_MS,
    onProblem: () => {},
    ...options,
  });
  return ending.add(store, () => store.close());
}

export interface WatchedRoom extends TestRoom {
  /** Each call of `onStore`, and when it came. */
  readonly ups: { readonly up: boolean; readonly at: number }[];
}

export function roomFor(
  ending: Cleanup,
  store: Store,
  options: Parameters<typeof openRoom>[1] = {},
): WatchedRoom {
  const ups: WatchedRoom['ups'] = [];
  const room = openRoom(store, {
    heartbeatMs: HEARTBEAT_MS,
    maxStalenessMs: MAX_STALENESS_MS,
    storeTimeoutMs: READ_TIMEOUT_MS,
    onStore: (up) => void ups.push({ up, at: performance.now() }),
    ...options,
  });
  return ending.add(Object.assign(room, { ups }), () => room.close());
}

/** Commits, and again where somebody else came first or the store is away. */
export async function putSurely(store: Store, tenant: string, ...changes: Change[]): Promise<Head> {
  for (const end = performance.now() + 20_000; ;) {
    try {
      return await put(store, tenant, ...changes);
    } catch (error) {
      if (!(error instanceof StoreError) || performance.now() > end) throw error;
      await sleep(50);
    }
  }
}

export interface Told {
  readonly answer: Answer | 'HANGS';
  readonly askedAt: number;
  readonly answeredAt: number;
}

/** Asks the same again and again, until it is told to stop. */
export function keepAsking(
  room: TestRoom,
  question: Question,
  { deadlineMs = 200, everyMs = 5 } = {},
): { readonly told: Told[]; stop(): Promise<readonly Told[]> } {
  const told: Told[] = [];
  const state = { stopped: false };
  const run = async (): Promise<void> => {
    while (!state.stopped) {
      const askedAt = performance.now();
      const answer = await askWithin(
        room,
        { ...question, waitMs: deadlineMs },
        deadlineMs + MARGIN_MS,
      );
      told.push({ answer, askedAt, answeredAt: performance.now() });
      await sleep(everyMs);
    }
  };
  const running = run();
  return {
    told,
    async stop(): Promise<readonly Told[]> {
      state.stopped = true;
      await running;
      return told;
    },
  };
}

/** What was answered, each once, in the order of first appearance. */
export function kinds(told: readonly Told[]): (Answer | 'HANGS')[] {
  return [...new Set(told.map(({ answer }) => answer))];
}

export interface Wire {
  /** `redis://` of its near end. */
  readonly url: string;
  /** Nothing passes, and nothing is said: a partition. New connections hang as well. */
  hold(way?: 'both' | 'answers'): void;
  /** All connections end, and new ones are refused. */
  cut(): void;
  /** Passes again, what was held included. */
  mend(): void;
  /** The next time that a request holds the text, the connection ends: after it has reached the other end, or before. */
  cutAt(text: string, when: 'delivered' | 'lost'): void;
  /** How often `cutAt` struck. */
  cuts(): number;
  close(): Promise<void>;
}

/** A wire to a port of this machine. */
export async function wireFor(ending: Cleanup, port: number): Promise<Wire> {
  let state: 'up' | 'both' | 'answers' | 'down' = 'up';
  let trap: { readonly text: string; readonly when: 'delivered' | 'lost' } | undefined;
  let cuts = 0;
  let held: (() => void)[] = [];
  const sockets = new Set<Socket>();
  const keep = (socket: Socket): Socket => {
    sockets.add(socket);
    socket.setNoDelay(true);
    socket.on('error', () => {});
    return socket.on('close', () => sockets.delete(socket));
  };
  const server = createServer((near) => {
    keep(near);
    if (state === 'down') {
      near.destroy();
      return;
    }
    const far = keep(connect(port, '127.0.0.1'));
    const end = (): void => {
      near.destroy();
      far.destroy();
    };
    near.on('close', end);
    far.on('close', end);
    let silent = false;
    const pass = (to: Socket, chunk: Buffer): void => {
      if (!to.destroyed) to.write(chunk);
    };
    near.on('data', (chunk: Buffer) => {
      if (trap !== undefined && chunk.includes(trap.text)) {
        const { when } = trap;
        trap = undefined;
        cuts++;
        silent = true;
        if (when === 'delivered') far.write(chunk, () => setTimeout(end, 100));
        else end();
      } else if (state === 'both') held.push(() => pass(far, chunk));
      else pass(far, chunk);
    });
    far.on('data', (chunk: Buffer) => {
      if (silent) return;
      if (state === 'both' || state === 'answers') held.push(() => pass(near, chunk));
      else pass(near, chunk);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  // The server listens on TCP.
  const { port: own } = server.address() as AddressInfo;
  const wire: Wire = {
    url: `redis://127.0.0.1:${own}`,
    hold(way = 'both'): void {
      state = way;
    },
    cut(): void {
      state = 'down';
      held = [];
      for (const socket of sockets) socket.destroy();
    },
    mend(): void {
      state = 'up';
      for (const go of held.splice(0)) go();
    },
    cutAt(text, when): void {
      trap = { text, when };
    },
    cuts: () => cuts,
    async close(): Promise<void> {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
  return ending.add(wire, () => wire.close());
}
