/** AdminService at its limits: the largest documents, batches, pages and records. Writes are dry runs, so that each run meets the same facts. */
import { join } from 'node:path';
import { Client, credentials, Metadata } from '@grpc/grpc-js';
import { loadSync, type MethodDefinition } from '@grpc/proto-loader';
import { PACKAGE_ROOT } from '../../test/support/package-root.ts';
import type { Answer } from '../../test/support/server.ts';
import type { LimitCall } from './limit-call.ts';
import { SETS, TENANT } from './world.ts';

/** What proves the operator to the server of `server.ts`. */
export const OPERATOR_TOKEN = 'operator-of-the-loop-hold-measurement';

const METHODS = loadSync('postern/v1/admin.proto', {
  includeDirs: [join(PACKAGE_ROOT, 'proto')],
  keepCase: true,
  longs: Number,
  enums: String,
  defaults: true,
})['postern.v1.AdminService'] as unknown as Readonly<
  Record<string, MethodDefinition<object, object>>
>;

const manyOf = <T>(count: number, of: (at: number) => T): T[] =>
  Array.from({ length: count }, (_, at) => of(at));
const dry = { options: { dry_run: true } };

/** A policy set of as many rules as one may have. */
function ruleset(name: string, rules: number): string {
  const lines = manyOf(rules, (at) => `    - { id: x${at}, effect: allow, actions: [doc:read] }`);
  return `policy_set:\n  name: ${name}\n  mode: enforce\n  rules:\n${lines.join('\n')}\n`;
}

/** As nested and as large as a document may be before it is refused. */
const nested = '['.repeat(1_000_000);

function admin(
  rpc: string,
  what: string,
  request: () => object,
  isRight: (answer: Answer) => boolean = () => true,
): LimitCall {
  return {
    rpc,
    what,
    prepare(_client, address): Promise<() => Promise<void>> {
      const message = { tenant: TENANT, ...request() };
      return Promise.resolve(async () => {
        const answer = await call(address, rpc, message);
        if (!isRight(answer))
          throw new Error(`${rpc}, ${what}: ${JSON.stringify(answer).slice(0, 500)}`);
      });
    },
  };
}

/** An error of the call is an answer of the field `code`. */
async function call(address: string, rpc: string, message: object): Promise<Answer> {
  const method = METHODS[rpc];
  if (method === undefined) throw new Error(`there is no method ${rpc}`);
  const client = new Client(address, credentials.createInsecure(), {
    'grpc.max_receive_message_length': -1,
    'grpc.max_send_message_length': -1,
  });
  const metadata = new Metadata();
  metadata.set('authorization', `Bearer ${OPERATOR_TOKEN}`);
  try {
    return await new Promise<Answer>((done) => {
      client.makeUnaryRequest(
        method.path,
        method.requestSerialize,
        method.responseDeserialize,
        message,
        metadata,
        { deadline: Date.now() + 60_000 },
        // The proto file says what the answer is.
        (error, answer) => done((error ?? answer) as unknown as Answer),
      );
    });
  } finally {
    client.close();
  }
}

const isDone = (answer: Answer): boolean => answer['revision'] !== undefined;
const isRefused = (answer: Answer): boolean => answer['code'] === 3 || answer['code'] === 8;
const hasProblems = (answer: Answer): boolean =>
  (answer['problems'] as unknown[] | undefined) !== undefined;

export function adminCalls(): LimitCall[] {
  return [
    admin(
      'ValidatePolicySet',
      '5,000 rules',
      () => ({ document: ruleset('large', 5_000) }),
      hasProblems,
    ),
    admin(
      'ValidatePolicySet',
      '60,000 rules, 2 MiB and more',
      () => ({ document: ruleset('large', 60_000) }),
      (answer) => isRefused(answer) || hasProblems(answer),
    ),
    admin(
      'ValidatePolicySet',
      'a million brackets',
      () => ({ document: nested }),
      (answer) => isRefused(answer) || hasProblems(answer),
    ),
    admin(
      'PutPolicySet',
      '5,000 rules',
      () => ({ ...dry, document: ruleset('large', 5_000) }),
      isDone,
    ),
    admin(
      'PutPolicySet',
      '200 rules of a set that a key with 4,000 rules has',
      () => ({ ...dry, document: ruleset('s0', 200) }),
      isDone,
    ),
    admin('DeletePolicySet', 'of a key with 4,000 rules', () => ({ ...dry, name: 's0' }), isDone),
    admin('GetPolicySet', '200 rules', () => ({ name: 's0' }), isDone),
    admin('ListPolicySets', `${SETS} sets of 200 rules`, () => ({ page_size: 1_000 }), isDone),
    admin(
      'AttachPolicySet',
      '200 rules to a key of 4,000',
      () => ({ ...dry, id: 'ruled', policy_set: 's0' }),
      isDone,
    ),
    admin(
      'DetachPolicySet',
      'of a key with 4,000 rules',
      () => ({ ...dry, id: 'ruled', policy_set: 's1' }),
      isDone,
    ),
    admin(
      'UpdateKey',
      'a key with 4,000 rules',
      () => ({ ...dry, id: 'ruled', role: 'default_allow' }),
      isDone,
    ),
    admin('GetKey', 'what a key with 4,000 rules may do', () => ({ id: 'ruled' }), isDone),
    admin('ListKeys', 'a page of 1,000', () => ({ page_size: 1_000 }), isDone),
    admin(
      'BatchCreateUsers',
      '1,000 users with e-mails',
      () => ({
        ...dry,
        users: manyOf(1_000, (at) => ({
          id: `new${at}`,
          email: `n${at}@example.com`,
          external_id: `e-${at}`,
          roles: ['r1'],
        })),
      }),
      isDone,
    ),
    admin('ListUsers', 'a page of 1,000', () => ({ page_size: 1_000 }), isDone),
    admin('GetUser', 'a user with 20,000 grants', () => ({ id: 'holder' }), isDone),
    admin(
      'UpdateUser',
      'a user with 20,000 grants',
      () => ({ ...dry, id: 'holder', email: 'holder@example.com' }),
      isDone,
    ),
    admin('DeleteUser', 'a user with 20,000 grants', () => ({ ...dry, id: 'holder' }), isDone),
    admin('ListRoles', 'a page of 1,000', () => ({ page_size: 1_000 }), isDone),
    admin(
      'CreateRole',
      '1,000 permissions',
      () => ({
        ...dry,
        role: { id: 'wide', level: 1, permissions: manyOf(1_000, (at) => `kind${at}:write`) },
      }),
      isDone,
    ),
    admin(
      'UpdateRole',
      '1,000 permissions',
      () => ({
        ...dry,
        id: 'r1',
        permissions: { permissions: manyOf(1_000, (at) => `kind${at}:write`) },
      }),
      isDone,
    ),
    admin(
      'GrantPermission',
      '1,000 permissions',
      () => ({ ...dry, id: 'r1', permissions: manyOf(1_000, (at) => `kind${at}:write`) }),
      isDone,
    ),
    admin(
      'AddMember',
      '1,000 members',
      () => ({ ...dry, group: 'role:r1', members: manyOf(1_000, (at) => `role:r${at + 10}`) }),
      isDone,
    ),
    admin('ListMembers', 'of a role', () => ({ group: 'role:r0', page_size: 1_000 }), isDone),
    admin(
      'CreateGrant',
      'to a user with 20,000 grants',
      () => ({ ...dry, principal: 'user:holder', path: 'g.new', actions: ['read'] }),
      isDone,
    ),
    admin(
      'RevokeGrant',
      'of a user with 20,000 grants',
      () => ({ ...dry, principal: 'user:holder', path: 'g.p7' }),
      isDone,
    ),
    admin(
      'ListGrants',
      'a page of 1,000 of 20,000',
      () => ({ principal: 'user:holder', page_size: 1_000 }),
      isDone,
    ),
    admin(
      'CheckGrant',
      'a user with 20,000 grants',
      () => ({ principal: 'user:holder', path: 'g.p9', action: 'read' }),
      isDone,
    ),
    admin(
      'SetOwner',
      'a user with 20,000 grants',
      () => ({ ...dry, path: 'g', owner: 'holder' }),
      isDone,
    ),
    admin('ListOwners', 'a page of 1,000', () => ({ page_size: 1_000 }), isDone),
    admin('ListChanges', 'a page of 1,000', () => ({ page_size: 1_000 }), isDone),
  ];
}
