/** What became of a task whose thread has died is told as it is known (CONS-5, ADM-11). */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { POLICY_LIMITS } from '../../src/config/policy-limits.ts';
import { settingsSchema } from '../../src/config/settings/settings-schema.ts';
import { failedEvent } from '../../src/admin/calls/events.ts';
import { Refused } from '../../src/admin/refused.ts';
import { openPool, type Pool } from '../../src/admin/threads/pool.ts';
import { UnknownOutcomeError } from '../../src/store/store.ts';
import { catalog, defaults, TENANT } from '../support/admin.ts';
import { startRedis, type RedisServer } from '../support/redis-server.ts';

const DEADLINE_MS = 4_000;
/** Longer than the test. */
const PAUSE_MS = 20_000;

let redis: RedisServer;
let pool: Pool;
beforeAll(async () => {
  redis = await startRedis();
  pool = openPool({ threads: 1, maxWaiting: 4, deadlineMs: DEADLINE_MS, heapMiB: 512 });
}, 60_000);
afterAll(async () => {
  await pool.close();
  await redis.dispose();
});

function apply(text: string): Promise<unknown> {
  const settings = settingsSchema.parse({ catalog: 'x', default_roles: 'x' });
  return pool
    .run('apply', {
      store: {
        address: redis.url,
        readTimeoutMs: PAUSE_MS,
        redis: { ...settings.redis, connect_timeout_ms: PAUSE_MS, commit_timeout_ms: PAUSE_MS },
      },
      tenant: TENANT,
      actor: { user: undefined, keyId: undefined, via: 'test' },
      options: { dry_run: false, idempotency_key: '', expected_revision: 0 },
      pieces: [new TextEncoder().encode(text)],
      unlisted: 'prune',
      catalog,
      limits: POLICY_LIMITS,
      defaults,
      baseline: [],
    })
    .catch((error: unknown) => error);
}

const state = (users: number): string =>
  JSON.stringify({
    tenant: TENANT,
    users: Array.from({ length: users }, (_, at) => ({ id: `user-${at}` })),
  });

it('a thread that ends while it commits has an outcome that is not known', async () => {
  // Started, and the store is there.
  expect(await apply(state(1))).toMatchObject({ revision: 1 });
  await redis.command('CLIENT', 'PAUSE', PAUSE_MS, 'WRITE');
  const error = await apply(state(2));
  await redis.command('CLIENT', 'UNPAUSE');
  expect(error).toBeInstanceOf(UnknownOutcomeError);
  expect((error as Error).message).toContain('may have been done');
  const event = {
    tenant: TENANT,
    actor: { user: undefined, keyId: undefined, via: 'test' },
    operation: 'state.apply',
    requestId: '',
    revision: 0,
    dryRun: false,
    repeated: false,
    refused: undefined,
    differences: [],
  };
  expect(failedEvent(event, error).refused?.kind).toBe('unknown_outcome');
}, 60_000);

it('one that ends before it commits has changed nothing, and says so', async () => {
  // Nobody can end such a pause before its time.
  await redis.command('CLIENT', 'PAUSE', DEADLINE_MS + 1_000, 'ALL');
  const error = await apply(state(3));
  expect(error).toBeInstanceOf(Refused);
  expect((error as Error).message).toContain('nothing was changed');
}, 60_000);

it('the next task gets a thread of its own', async () => {
  await redis.command('PING');
  expect(await apply(state(4))).toMatchObject({ result: { dry_run: false } });
}, 60_000);
