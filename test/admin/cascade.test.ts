/** A cascade's work grows with what falls, holds nobody up, and ends although others commit (ADM-3, ADM-11). */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { applyState } from '../../src/admin/state/apply-state.ts';
import type { StateFile } from '../../src/config/state.ts';
import { openEmbeddedStore } from '../../src/store/embedded/store.ts';
import { openRedisStore, REDIS_DEFAULTS } from '../../src/store/redis/store.ts';
import type { Store } from '../../src/store/store.ts';
import { defaults, manager, TENANT, type Manager } from '../support/admin.ts';
import { startRedis, type RedisServer } from '../support/redis-server.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const upTo = (count: number): readonly number[] => Array.from({ length: count }, (_, at) => at);

/** `crew` holds read and admin on `p`; each of its members has given read to somebody below it. */
function crowd(givers: number): StateFile {
  return {
    tenant: TENANT,
    users: [
      { id: 'root', superuser: true },
      { id: 'bystander' },
      ...upTo(givers).flatMap((at) => [
        { id: `giver-${at}`, roles: ['crew'] },
        { id: `holder-${at}` },
      ]),
    ],
    roles: [{ id: 'crew' }],
    grants: [
      { principal: 'role:crew', path: 'p', actions: ['read', 'admin'] },
      ...upTo(givers).map((at) => ({
        principal: `user:holder-${at}`,
        path: `p.x${at}`,
        actions: ['read' as const],
        grantor: `user:giver-${at}`,
      })),
    ],
  };
}

/** Each has it from the one before, the first from the operator. */
function chain(length: number): StateFile {
  return {
    tenant: TENANT,
    users: [{ id: 'root', superuser: true }, ...upTo(length).map((at) => ({ id: `u${at}` }))],
    grants: upTo(length).map((at) => ({
      principal: `user:u${at}`,
      path: 'p',
      actions: ['read' as const],
      grant_option: true,
      ...(at === 0 ? {} : { grantor: `user:u${at - 1}` }),
    })),
  };
}

interface Counted {
  readonly store: Store;
  reads: number;
}

/** Counts what is asked of a store. */
function counted(store: Store): Counted {
  const counting: Counted = {
    reads: 0,
    store: {
      ...store,
      get: (...args) => {
        counting.reads++;
        return store.get(...args);
      },
      scan: (...args) => {
        counting.reads++;
        return store.scan(...args);
      },
      feed: (...args) => {
        counting.reads++;
        return store.feed(...args);
      },
    },
  };
  return counting;
}

interface Measured {
  readonly fell: number;
  /** Of this thread, ms: time that others took from it does not count. */
  readonly cpu: number;
  /** The most of it for which nobody else had a turn. */
  readonly held: number;
}

function cpu(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1_000;
}

async function revoked(room: Manager, principal: string): Promise<Measured> {
  let held = 0;
  let last = cpu();
  let done = false;
  const turn = (): void => {
    const now = cpu();
    held = Math.max(held, now - last);
    last = now;
    if (!done) setImmediate(turn);
  };
  const startedAt = last;
  setImmediate(turn);
  const { result } = await room.as('operator', 'RevokeGrant', { principal, path: 'p' });
  done = true;
  const { revoked_grants: rows } = result as { readonly revoked_grants: readonly object[] };
  return { fell: rows.length, cpu: cpu() - startedAt, held };
}

/** A step of 256 records is one read; a read a giver would be more. */
const readsFor = (records: number): number => 30 + records / 50;
/** What held the process for as long as it ran took tens of seconds. Garbage collection is in it. */
const HELD_MS = 250;

describe('on the embedded store', () => {
  const GIVERS = 10_000;

  it(`ADM-3, ADM-11: what ${GIVERS} members of a role gave falls with the role's own grant`, async () => {
    const counting = counted(openEmbeddedStore(temporaryDirectory()));
    await applyState(counting.store, crowd(GIVERS), defaults, 'test');
    counting.reads = 0;
    const measured = await revoked(manager(counting.store), 'role:crew');
    expect(measured.fell).toBe(GIVERS);
    expect(measured.cpu).toBeLessThan(4_000);
    expect(measured.held).toBeLessThan(HELD_MS);
    expect(counting.reads).toBeLessThan(readsFor(4 * GIVERS));
    await counting.store.close();
  });

  it('ADM-3, ADM-11: a chain takes a few reads a link', async () => {
    const LENGTH = 1_000;
    const counting = counted(openEmbeddedStore(temporaryDirectory()));
    await applyState(counting.store, chain(LENGTH), defaults, 'test');
    counting.reads = 0;
    const measured = await revoked(manager(counting.store), 'user:u0');
    expect(measured.fell).toBe(LENGTH - 1);
    expect(measured.cpu).toBeLessThan(2_000);
    expect(measured.held).toBeLessThan(HELD_MS);
    expect(counting.reads).toBeLessThan(3 * LENGTH);
    await counting.store.close();
  });

  it('ADM-3, ADM-11: one giver of thousands of rows and owners, and one principal that holds them all', async () => {
    const MANY = 4_000;
    const counting = counted(openEmbeddedStore(temporaryDirectory()));
    const grants = upTo(MANY).map((at) => ({
      principal: 'user:holder',
      path: `p.x${at}`,
      actions: ['read' as const],
      grantor: 'user:giver',
    }));
    const owners = upTo(MANY).map((at) => ({
      path: `p.y${at}`,
      owner: 'holder',
      grantor: 'user:giver',
    }));
    const giver = {
      principal: 'user:giver',
      path: 'p',
      actions: ['read', 'write', 'create', 'delete', 'admin'] as const,
    };
    await applyState(
      counting.store,
      {
        tenant: TENANT,
        users: [{ id: 'giver' }, { id: 'holder' }],
        grants: [{ ...giver, actions: [...giver.actions] }, ...grants],
        owners,
      },
      defaults,
      'test',
    );
    counting.reads = 0;
    const measured = await revoked(manager(counting.store), 'user:giver');
    expect(measured.fell).toBe(MANY);
    expect(measured.cpu).toBeLessThan(3_000);
    expect(measured.held).toBeLessThan(HELD_MS);
    expect(counting.reads).toBeLessThan(readsFor(2 * MANY));
    await counting.store.close();
  });
});

describe('on Redis, while another connection commits', () => {
  const GIVERS = 2_000;
  let server: RedisServer;
  beforeAll(async () => {
    server = await startRedis();
  });
  afterAll(() => server.dispose());

  /** What somebody else does every few milliseconds. */
  const OTHERS = [
    ['users', (at: number) => ['CreateUser', { user: { id: `new-${at}` } }] as const],
    [
      'grants',
      (at: number) =>
        [
          'CreateGrant',
          { principal: 'user:bystander', path: `q.x${at}`, actions: ['read'] },
        ] as const,
    ],
  ] as const;

  it.each(OTHERS)(
    'CONS-5, ADM-3: a cascade is done although others commit %s',
    async (name, request) => {
      const open = (): Store =>
        openRedisStore({
          ...REDIS_DEFAULTS,
          address: server.url,
          keyPrefix: name.replaceAll(' ', '-'),
          feedLength: 1_000,
          onProblem: () => {},
        });
      const counting = counted(open());
      const other = open();
      await applyState(counting.store, crowd(GIVERS), defaults, 'test');
      const others = manager(other);
      let commits = 0;
      const ending = new AbortController();
      const committing = (async () => {
        while (!ending.signal.aborted) {
          const [call, fields] = request(commits++);
          await others.as('root', call, fields);
          await new Promise((go) => setTimeout(go, 100));
        }
      })();
      counting.reads = 0;
      const measured = await revoked(manager(counting.store), 'role:crew');
      ending.abort();
      await committing;
      expect(measured.fell).toBe(GIVERS);
      expect(commits).toBeGreaterThan(1);
      expect(counting.reads).toBeLessThan(readsFor(4 * GIVERS) + 20 * commits);
      await Promise.all([counting.store.close(), other.close()]);
    },
  );
});
