/** Operations on much at once read what they need at once: their time grows with what they touch, and no faster. */
import { expect, it } from 'vitest';
import { applyState } from '../../src/admin/state/apply-state.ts';
import { defaults, manager, TENANT } from '../support/admin.ts';
import { openMemoryStore } from '../support/memory-store.ts';

/** Quadratic ones took minutes, and nothing else was answered meanwhile. */
const BOUND_MS = 10_000;
const MANY = 4_000;

const document = (more: string): string =>
  `policy_set: { name: s, mode: enforce, rules: [{ id: r, effect: allow, actions: [readonly] }${more}] }`;

it('a user who owns and has given thousands of paths, a set on thousands of keys (ADM-8, ABAC-5)', async () => {
  const store = openMemoryStore();
  const many = Array.from({ length: MANY }, (_, index) => index);
  await applyState(
    store,
    {
      tenant: TENANT,
      users: [
        { id: 'root', superuser: true },
        { id: 'giver' },
        ...many.map((index) => ({ id: `holder-${index}` })),
      ],
      owners: many.map((index) => ({ path: `p${index}`, owner: 'giver' })),
      grants: many.map((index) => ({
        principal: `user:holder-${index}`,
        path: `p${index}.x`,
        actions: ['read' as const],
        grantor: 'user:giver',
      })),
      policy_sets: [
        {
          name: 's',
          mode: 'enforce',
          rules: [{ id: 'r', effect: 'allow', actions: ['readonly'] }],
        },
      ],
      keys: many.map((index) => ({
        id: `key-${index}`,
        role: 'default_deny' as const,
        mode: 'enforce' as const,
        policy_sets: ['s'],
      })),
    },
    defaults,
    'test',
  );
  const room = manager(store);
  const startedAt = performance.now();
  await room.as('root', 'PutPolicySet', {
    document: document(', { id: n, effect: deny, actions: [user.delete] }'),
  });
  const { result } = await room.as('root', 'DeleteUser', { id: 'giver' });
  expect((result as { revoked_grants: unknown[] }).revoked_grants).toHaveLength(MANY);
  await room.as('root', 'DeletePolicySet', { name: 's' });
  expect(performance.now() - startedAt).toBeLessThan(BOUND_MS);
}, 60_000);
