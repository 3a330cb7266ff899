/** No record of grant rows grows without an end, and writing a large one costs a few reads (ADM-11, TREE-3). */
import { expect, it } from 'vitest';
import { applyState } from '../../src/admin/state/apply-state.ts';
import type { StateFile } from '../../src/config/state.ts';
import type { Store } from '../../src/store/store.ts';
import { defaults, manager, TENANT } from '../support/admin.ts';
import { openMemoryStore } from '../support/memory-store.ts';

const MAX_HELD = 20_000;
const upTo = (count: number): readonly number[] => Array.from({ length: count }, (_, at) => at);

function holding(rows: number): StateFile {
  return {
    tenant: TENANT,
    users: [{ id: 'root', superuser: true }, { id: 'alice' }],
    grants: upTo(rows).map((at) => ({
      principal: 'user:alice',
      path: `p${at}`,
      actions: ['read' as const],
    })),
  };
}

const granted = (path: string, more: object = {}): object => ({
  principal: 'user:alice',
  path,
  actions: ['write'],
  ...more,
});

it('ADM-11: a principal holds a bounded number of grants, which may change and be taken', async () => {
  const store = openMemoryStore();
  await applyState(store, holding(MAX_HELD), defaults, 'test');
  const room = manager(store);
  const refused = await room.refused('operator', 'CreateGrant', granted('new'));
  expect(refused).toMatchObject({ kind: 'failed_precondition', rule: 'ADM-11' });
  expect(refused.message).toContain(`would hold ${MAX_HELD + 1} grants, ${MAX_HELD} are allowed`);
  // A row that is there may still gain an action.
  await room.as('operator', 'CreateGrant', granted('p7'));
  await room.as('operator', 'RevokeGrant', { principal: 'user:alice', path: 'p9' });
  await room.as('operator', 'CreateGrant', granted('new'));
}, 30_000);

it('ADM-11: a state with more is refused as a whole', async () => {
  const store = openMemoryStore();
  const more = applyState(store, holding(MAX_HELD + 1), defaults, 'test');
  await expect(more).rejects.toThrow(`\`user:alice\` would hold ${MAX_HELD + 1} grants`);
  expect(await store.heads([TENANT])).toEqual([undefined]);
}, 30_000);

/** The store, and how often it is read. */
function counted(store: Store): { readonly store: Store; reads: number } {
  const counting = {
    reads: 0,
    store: {
      ...store,
      get: (...asked: Parameters<Store['get']>) => {
        counting.reads++;
        return store.get(...asked);
      },
    },
  };
  return counting;
}

it('ADM-8, ADM-11: a user with rows of thousands of grantors is deleted by a few reads', async () => {
  const GIVERS = 3_000;
  const counting = counted(openMemoryStore());
  await applyState(
    counting.store,
    {
      tenant: TENANT,
      users: [
        { id: 'root', superuser: true },
        { id: 'holder' },
        ...upTo(GIVERS).map((at) => ({ id: `giver-${at}`, superuser: true })),
      ],
      grants: upTo(GIVERS).map((at) => ({
        principal: 'user:holder',
        path: `p.x${at}`,
        actions: ['read' as const],
        grantor: `user:giver-${at}`,
      })),
    },
    defaults,
    'test',
  );
  counting.reads = 0;
  await manager(counting.store).as('operator', 'DeleteUser', { id: 'holder' });
  // Once a grantor, it was as many reads as there are grantors, and as many runs of the rule.
  expect(counting.reads).toBeLessThan(200);
}, 60_000);
