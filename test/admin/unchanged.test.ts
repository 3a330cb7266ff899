/** A state that was applied before is compared again only where something was changed since (ADM-10, CONS-1). */
import { expect, it } from 'vitest';
import { POLICY_LIMITS } from '../../src/config/policy-limits.ts';
import type { Actor } from '../../src/admin/actor.ts';
import { applyText } from '../../src/admin/state/apply-text.ts';
import type { Unlisted } from '../../src/admin/state/plan-state.ts';
import { UnchangedStates } from '../../src/admin/state/unchanged.ts';
import type { Done, WriteOptions } from '../../src/admin/write-result.ts';
import type { Change, Store } from '../../src/store/store.ts';
import { actorOf, catalog, defaults, manager, TENANT } from '../support/admin.ts';
import { openMemoryStore } from '../support/memory-store.ts';

const PLAIN: WriteOptions = { dry_run: false, idempotency_key: '', expected_revision: 0 };
const STATE = JSON.stringify({
  tenant: TENANT,
  users: [{ id: 'root', superuser: true }, { id: 'alice' }],
  grants: [{ principal: 'user:alice', path: 'p', actions: ['read'] }],
});

interface How {
  readonly text?: string;
  readonly options?: Partial<WriteOptions>;
  readonly unlisted?: Unlisted;
  readonly actor?: Actor;
  readonly catalog?: typeof catalog;
}

function room(store: Store = openMemoryStore()) {
  const states = new UnchangedStates();
  let compared = 0;
  const apply = (how: How = {}): Promise<Done> => {
    const { text = STATE, unlisted = 'prune', actor = actorOf('operator') } = how;
    const options = { ...PLAIN, ...how.options };
    const asked = { tenant: TENANT, actor, options, unlisted, catalog: how.catalog ?? catalog };
    const bytes = new TextEncoder().encode(text);
    const pieces = [bytes.slice(0, 7), bytes.slice(7)];
    return states.apply(store, { ...asked, pieces }, () => {
      compared++;
      const environment = { store, catalog: () => catalog, defaults, limits: POLICY_LIMITS };
      return applyText(environment, TENANT, actor, options, text, { unlisted });
    });
  };
  return { store, apply, compared: () => compared };
}

async function used(store: Store, operation: string): Promise<void> {
  const [head] = await store.heads([TENANT]);
  if (typeof head !== 'object') throw new Error('there is no tenant');
  const changes: Change[] = [{ kind: 'usage', id: 'k', value: { id: 'k', at: head.revision } }];
  const event = { actor: 'operator', operation };
  const commit = { tenant: TENANT, expected: head.revision, nonce: head.nonce, changes, event };
  expect(await store.commit(commit)).toMatchObject({ committed: true });
}

it('the second time it is not read, and the answer is that of a state without changes', async () => {
  const { store, apply, compared } = room();
  const first = await apply();
  expect(first.result.changes).not.toEqual([]);
  const second = await apply();
  expect(compared()).toBe(1);
  const fresh = await applyText(
    { store, catalog: () => catalog, defaults, limits: POLICY_LIMITS },
    TENANT,
    actorOf('operator'),
    PLAIN,
    STATE,
    { unlisted: 'prune' },
  );
  expect(second).toMatchObject(fresh);
  expect(second.revision).toBe(first.revision);
  expect(await apply({ options: { dry_run: true } })).toMatchObject({ result: { dry_run: true } });
  expect(compared()).toBe(1);
});

it('the use of keys is no change; the revision and the token are the newest', async () => {
  const { store, apply, compared } = room();
  const first = await apply();
  await used(store, 'key.used');
  const again = await apply();
  expect(compared()).toBe(1);
  expect(again.revision).toBe(first.revision + 1);
  expect(again.consistency_token).not.toBe(first.consistency_token);
});

it('what others changed since is found and undone', async () => {
  const { store, apply, compared } = room();
  await apply();
  await manager(store).as('operator', 'CreateUser', { user: { id: 'intruder' } });
  const again = await apply();
  expect(compared()).toBe(2);
  expect(again.result.changes).toContainEqual({ change: 'delete', kind: 'user', id: 'intruder' });
  await used(store, 'user.update');
  await apply();
  expect(compared()).toBe(3);
});

it.each<readonly [string, How]>([
  ['another text', { text: `${STATE} ` }],
  ['another word of what is not listed', { unlisted: 'keep' }],
  ['another catalog', { catalog: { ...catalog } }],
  ['a superuser', { actor: actorOf('root') }],
  ['an idempotency key', { options: { idempotency_key: 'once' } }],
  ['an expected revision', { options: { expected_revision: 1 } }],
])('%s is compared', async (_what, how) => {
  const { apply, compared } = room();
  await apply();
  await apply(how);
  expect(compared()).toBe(2);
});

it('somebody who may not is refused as ever', async () => {
  const { apply } = room();
  await apply();
  await expect(apply({ actor: actorOf('alice') })).rejects.toThrow('may not apply a whole state');
});

it('a state with warnings tells them each time', async () => {
  const { apply, compared } = room();
  const text = JSON.stringify({
    ...(JSON.parse(STATE) as object),
    policy_sets: [
      {
        name: 's',
        mode: 'enforce',
        rules: [
          { id: 'all', effect: 'allow', actions: ['readonly'] },
          { id: 'some', effect: 'allow', actions: ['readonly'], attributes: { tenant: ['x'] } },
        ],
      },
    ],
  });
  const first = await apply({ text });
  expect(first.result.warnings).not.toEqual([]);
  expect((await apply({ text })).result.warnings).toEqual(first.result.warnings);
  expect(compared()).toBe(2);
});

it('a history that was lost is compared, though the revision is the same', async () => {
  const one = openMemoryStore();
  const other = openMemoryStore();
  let current = one;
  const store: Store = {
    ...one,
    get: (...asked) => current.get(...asked),
    scan: (...asked) => current.scan(...asked),
    feed: (...asked) => current.feed(...asked),
    commit: (...asked) => current.commit(...asked),
  };
  const { apply, compared } = room(store);
  const first = await apply();
  await room(other).apply({ text: STATE.replaceAll('alice', 'bob') });
  current = other;
  const again = await apply();
  expect(compared()).toBe(2);
  expect(again.revision).toBe(first.revision + 1);
});
