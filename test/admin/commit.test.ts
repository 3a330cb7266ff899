/** The one optimistic loop: operations and whole states lose races alike, and go on (CONS-5). */
import { describe, expect, it } from 'vitest';
import { applyState } from '../../src/admin/state/apply-state.ts';
import { StoreError, type Store } from '../../src/store/store.ts';
import { manager, TENANT } from '../support/admin.ts';
import { openMemoryStore } from '../support/memory-store.ts';
import { put, role } from '../support/records.ts';

/** A store where somebody else commits first, that many times. */
function contested(
  store: Store,
  races: number,
): { readonly store: Store; readonly lost: () => number } {
  let lost = 0;
  return {
    lost: () => lost,
    store: {
      ...store,
      async commit(commit) {
        if (lost < races) await put(store, TENANT, role(`other-${++lost}`, []));
        return store.commit(commit);
      },
    },
  };
}

async function tenant(): Promise<Store> {
  const store = openMemoryStore();
  await manager(store).as('operator', 'CreateTenant', { owner: 'root' });
  return store;
}

const RACES = 25;
const STATE = { tenant: TENANT, users: [{ id: 'alice' }] };

describe('a commit that comes too late', () => {
  it('a state is planned again, with what others wrote meanwhile in sight', async () => {
    const { store, lost } = contested(await tenant(), RACES);
    const { plan, revision } = await applyState(store, STATE, [], 'test', { unlisted: 'keep' });
    expect(lost()).toBe(RACES);
    expect(revision).toBe(RACES + 2);
    expect(plan.summary).toEqual([{ change: 'create', kind: 'user', id: 'alice' }]);
  });

  it('an operation is done as well', async () => {
    const { store, lost } = contested(await tenant(), RACES);
    const answer = await manager(store).as('operator', 'CreateUser', { user: { id: 'alice' } });
    expect(lost()).toBe(RACES);
    expect(answer['revision']).toBe(RACES + 2);
  });

  it.each([
    ['a state', (store: Store) => applyState(store, STATE, [], 'test', { unlisted: 'keep' })],
    [
      'an operation',
      (store: Store) => manager(store).as('operator', 'CreateUser', { user: { id: 'alice' } }),
    ],
  ])('%s that never wins gives up, with nothing written', async (_name, run) => {
    const { store, lost } = contested(await tenant(), Infinity);
    const failed = await run(store).catch((error: unknown) => error);
    expect(failed).toBeInstanceOf(StoreError);
    expect(String(failed)).toContain(`was changed by others ${lost()} times`);
    expect((await store.get(TENANT, [{ kind: 'user', id: 'alice' }])).values).toEqual([undefined]);
  });
});
