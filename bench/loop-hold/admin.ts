/**
 * AdminService at its limits: the largest documents, batches, pages and records. Each run of a write commits a change
 * of its own, and is undone where the next call needs the facts as they were.
 */
import type { Answer } from '../../test/support/server.ts';
import { call, stream } from './admin-client.ts';
import type { LimitCall } from './limit-call.ts';
import { CHANGES, ROLES, SETS, TENANT, VICTIMS } from './world.ts';

const manyOf = <T>(count: number, of: (at: number) => T): T[] =>
  Array.from({ length: count }, (_, at) => of(at));

/** A policy set of as many rules as one may have. */
function ruleset(name: string, rules: number, mode = 'enforce'): string {
  const lines = manyOf(rules, (at) => `    - { id: x${at}, effect: allow, actions: [doc:read] }`);
  return `policy_set:\n  name: ${name}\n  mode: ${mode}\n  rules:\n${lines.join('\n')}\n`;
}

/** As nested and as large as a document may be before it is refused. */
const nested = '['.repeat(1_000_000);

type Request = (run: number) => object;
type Other = readonly [rpc: string, request: Request];

interface How {
  readonly isRight?: (answer: Answer) => boolean;
  /** Before each run, and after it. */
  readonly before?: Other;
  readonly after?: Other;
  readonly count?: number;
}

function admin(
  rpc: string,
  what: string,
  request: Request,
  { isRight = isDone, before, after, count }: How = {},
): LimitCall {
  return {
    rpc,
    what,
    prepare(_client, address) {
      const ask =
        ([name, of]: Other, isAsExpected: (answer: Answer) => boolean) =>
        async (run: number): Promise<void> => {
          const answer = await call(address, name, { tenant: TENANT, ...of(run) });
          if (!isAsExpected(answer))
            throw new Error(`${name}, ${what}: ${JSON.stringify(answer).slice(0, 500)}`);
        };
      return Promise.resolve({
        run: ask([rpc, request], isRight),
        ...(before === undefined ? {} : { before: ask(before, isDone) }),
        ...(after === undefined ? {} : { after: ask(after, isDone) }),
        ...(count === undefined ? {} : { count }),
      });
    },
  };
}

const isDone = (answer: Answer): boolean => answer['revision'] !== undefined;
const isRefused = (answer: Answer): boolean => answer['code'] === 3 || answer['code'] === 8;
const hasProblems = (answer: Answer): boolean =>
  (answer['problems'] as unknown[] | undefined) !== undefined;
const isJudged = (answer: Answer): boolean => isRefused(answer) || hasProblems(answer);

const page = { page_size: 1_000 };
const permissions = (run: number): string[] => manyOf(1_000, (at) => `kind${at}:write${run}`);
const members = (run: number): string[] =>
  manyOf(1_000, (at) => `role:r${10 + ((run * 1_000 + at) % (ROLES - 10))}`);
const mode = (run: number): string => (run % 2 === 0 ? 'report_only' : 'enforce');
const grant = (run: number): object => ({
  principal: 'user:holder',
  path: `g.p${run}`,
  actions: ['read'],
});
const key = (run: number): object => ({
  key: { id: `k${run}`, role: 'default_deny', mode: 'enforce' },
});

export function adminCalls(): LimitCall[] {
  return [
    ...policyCalls(),
    ...keyCalls(),
    ...userCalls(),
    ...groupCalls(),
    ...grantCalls(),
    ...tenantCalls(),
  ];
}

function policyCalls(): LimitCall[] {
  return [
    admin('ValidatePolicySet', '5,000 rules', () => ({ document: ruleset('large', 5_000) }), {
      isRight: hasProblems,
    }),
    admin(
      'ValidatePolicySet',
      '60,000 rules, 2 MiB and more',
      () => ({ document: ruleset('large', 60_000) }),
      { isRight: isJudged },
    ),
    admin('ValidatePolicySet', 'a million brackets', () => ({ document: nested }), {
      isRight: isJudged,
    }),
    admin('PutPolicySet', '5,000 rules', (run) => ({
      document: ruleset('large', 5_000, mode(run)),
    })),
    admin('PutPolicySet', '200 rules of a set that a key with 4,000 rules has', (run) => ({
      document: ruleset('s0', 200, mode(run)),
    })),
    admin('UpdatePolicySet', 'of a key with 4,000 rules', (run) => ({
      name: 's1',
      mode: mode(run),
    })),
    admin('GetPolicySet', '5,000 rules', () => ({ name: 'large' })),
    admin('ListPolicySets', `${SETS} sets of 200 rules, one of 5,000`, () => page),
    admin('DeletePolicySet', '5,000 rules', () => ({ name: 'gone' }), {
      before: ['PutPolicySet', () => ({ document: ruleset('gone', 5_000) })],
    }),
  ];
}

function keyCalls(): LimitCall[] {
  const attached = (): object => ({ id: 'ruled', policy_set: 's0' });
  return [
    admin('DetachPolicySet', 'of a key with 4,000 rules', attached, {
      after: ['AttachPolicySet', attached],
    }),
    admin('AttachPolicySet', 'to a key of 4,000 rules', attached, {
      before: ['DetachPolicySet', attached],
    }),
    admin('UpdateKey', 'a key with 4,000 rules', (run) => ({
      id: 'ruled',
      description: `run ${run}`,
    })),
    admin('RotateKey', 'a key with 4,000 rules', () => ({ id: 'ruled', overlap_seconds: 0 })),
    admin('GetKey', 'what a key with 4,000 rules may do', () => ({ id: 'ruled' })),
    admin('ListKeys', 'a page of 1,000, one with 4,000 rules', () => page),
    admin('CreateKey', 'one', key),
    admin('RevokeKey', 'one', (run) => ({ id: `k${run}` })),
  ];
}

function userCalls(): LimitCall[] {
  return [
    admin('CreateUser', 'one, with metadata', (run) => ({
      user: { id: `one${run}`, email: `one${run}@example.com`, roles: ['r1'] },
    })),
    admin('BatchCreateUsers', '1,000 users with e-mails and a role', (run) => ({
      users: manyOf(1_000, (at) => ({
        id: `new${run}-${at}`,
        email: `n${run}-${at}@example.com`,
        external_id: `e-${run}-${at}`,
        roles: ['r1'],
      })),
    })),
    admin('ListUsers', 'a page of 1,000, of whom four have 20,000 grants', () => page),
    admin('GetUser', 'a user with 20,000 grants', () => ({ id: 'holder' })),
    admin('UpdateUser', 'a user with 20,000 grants', (run) => ({
      id: 'holder',
      email: `holder${run}@example.com`,
    })),
    admin('DeleteUser', 'a user with 20,000 grants', (run) => ({ id: `victim${run}` }), {
      count: VICTIMS - 1,
    }),
    admin('CreateSession', 'of a user with 20,000 grants', () => ({ user: 'holder' })),
    admin('ListSessions', 'of a user with 20,000 grants', () => ({ user: 'holder' })),
    admin('RevokeSession', 'all of a user with 20,000 grants', () => ({ user: 'holder' }), {
      before: ['CreateSession', () => ({ user: 'holder' })],
    }),
  ];
}

function groupCalls(): LimitCall[] {
  const group = 'role:r1';
  return [
    admin('CreateRole', '1,000 permissions', (run) => ({
      role: { id: `wide${run}`, level: 1, permissions: permissions(run) },
    })),
    admin('GetRole', '1,000 permissions', () => ({ id: 'wide0' })),
    admin('UpdateRole', '1,000 permissions', (run) => ({
      id: 'r1',
      permissions: { permissions: permissions(run) },
    })),
    admin('GrantPermission', '1,000 permissions', (run) => ({
      id: 'r2',
      permissions: permissions(run),
    })),
    admin('RevokePermission', '1,000 permissions', (run) => ({
      id: 'r2',
      permissions: permissions(run),
    })),
    admin('DeleteRole', '1,000 permissions', (run) => ({ id: `wide${run}` })),
    admin('ListRoles', 'a page of 1,000', () => page),
    admin('AddMember', '1,000 roles', (run) => ({ group, members: members(run) }), {
      after: ['RemoveMember', (run) => ({ group, members: members(run) })],
    }),
    admin('RemoveMember', '1,000 roles', (run) => ({ group, members: members(run) }), {
      before: ['AddMember', (run) => ({ group, members: members(run) })],
    }),
    admin('ListMembers', 'of a role, users with 20,000 grants are looked at', () => ({
      group: 'role:r0',
      ...page,
    })),
    admin('CreateWorkspace', 'one', (run) => ({ workspace: { id: `w${run}` } })),
    admin('GetWorkspace', 'one', (run) => ({ id: `w${run}` })),
    admin('UpdateWorkspace', 'one', (run) => ({ id: `w${run}`, description: 'long'.repeat(250) })),
    admin('ListWorkspaces', 'a page of 1,000', () => page),
    admin('DeleteWorkspace', 'one', (run) => ({ id: `w${run}` })),
  ];
}

function grantCalls(): LimitCall[] {
  const owned = (run: number): object => ({ path: `own.x${run}` });
  return [
    admin('RevokeGrant', 'of a user with 20,000 grants', grant, {
      after: ['CreateGrant', grant],
    }),
    admin('RevokeGrant', '5,000 rows that were given by a right of it fall', () => ({
      principal: 'role:crew',
      path: 'crew',
      options: { dry_run: true },
    })),
    admin('CreateGrant', 'to a user with 20,000 grants', grant, {
      before: ['RevokeGrant', grant],
    }),
    admin('ListGrants', 'a page of 1,000 of 20,000', () => ({
      principal: 'user:holder',
      ...page,
    })),
    admin('ListGrants', 'a page of 1,000 of everybody', () => page),
    admin('CheckGrant', 'a user with 20,000 grants', () => ({
      principal: 'user:holder',
      path: 'g.p9',
      action: 'read',
    })),
    admin('SetOwner', 'a user with 20,000 grants', (run) => ({ ...owned(run), owner: 'holder' })),
    admin('GetOwner', 'one', owned),
    admin('ListOwners', 'a page of 1,000', () => page),
    admin('RemoveOwner', 'a user with 20,000 grants', owned),
  ];
}

function tenantCalls(): LimitCall[] {
  return [
    admin('CreateTenant', 'one', (run) => ({ tenant: `t${run}`, owner: 'first' })),
    admin('GetTenant', 'one', () => ({})),
    admin('ListTenants', 'all', () => page),
    admin('ListChanges', 'a page of 1,000', () => page),
    {
      rpc: 'WatchChanges',
      what: `${CHANGES} changes at once`,
      prepare: (_client, address) =>
        Promise.resolve({
          async run(): Promise<void> {
            const asked = { tenant: TENANT, after: 1 };
            await stream(address, 'WatchChanges', asked, (count) => count === CHANGES);
          },
        }),
    },
  ];
}
