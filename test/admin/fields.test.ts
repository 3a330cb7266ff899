/** Every field of every write of AdminService is honoured, or refused by its name: no value is dropped. */
import { join, resolve } from 'node:path';
import protobuf from 'protobufjs';
import { describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { OPERATOR } from '../../src/admin/actor.ts';
import { WRITES, type WriteName } from '../../src/admin/operations.ts';
import { Refused } from '../../src/admin/refused.ts';
import { openMemoryStore, type MemoryStore } from '../support/memory-store.ts';
import { bytesOf, manager, PRUNE, TENANT, type Manager } from '../support/admin.ts';

const root = new protobuf.Root();
root.resolvePath = (_origin, target): string =>
  target.startsWith('google/') ? target : join(resolve('proto'), target);
root.loadSync('postern/v1/admin.proto', { keepCase: true }).resolveAll();

const CALLS = Object.keys(WRITES) as WriteName[];
/** Stands for a value of the caller's own, so that a refusal which names it is found. */
const TEXT = 'sentinel-7';
const NOW = Date.parse('2027-01-01T00:00:00Z');
const LATER = '2028-01-01T00:00:00Z';

const STATE = {
  tenant: TENANT,
  users: [
    { id: 'olga', roles: ['owner'] },
    { id: 'alice', roles: ['team'] },
    { id: 'bob', roles: ['team'] },
  ],
  roles: [{ id: 'team', level: 5, permissions: ['kb:read', 'kb:write'] }, { id: 'empty' }],
  workspaces: [{ id: 'studio' }],
  grants: [
    { principal: 'user:alice', path: 'infra', actions: ['read', 'write'], grant_option: true },
    { principal: 'user:alice', path: 'infra', actions: ['read', 'delete'], grantor: 'user:bob' },
  ],
  owners: [{ path: 'infra', owner: 'bob' }],
  policy_sets: [
    {
      name: 'reads',
      mode: 'enforce',
      rules: [{ id: 'r', effect: 'allow', actions: ['readonly'] }],
    },
    {
      name: 'other',
      mode: 'enforce',
      rules: [{ id: 'd', effect: 'deny', actions: ['user.delete'] }],
    },
  ],
  keys: [{ id: 'k', role: 'default_deny', mode: 'enforce', policy_sets: ['reads'] }],
};

const documentOf = (name: string): string =>
  `policy_set: { name: ${name}, mode: enforce, rules: [{ id: r, effect: allow, actions: [readonly] }] }`;

type Fields = Readonly<Record<string, unknown>>;

/** A request of each call that is done, as little as it takes. */
const LEAST: Readonly<Record<WriteName, Fields>> = {
  CreateTenant: { tenant: 'fresh' },
  DeleteTenant: { confirm: TENANT },
  CreateUser: { user: { id: 'zoe' } },
  BatchCreateUsers: { users: [{ id: 'zoe' }] },
  UpdateUser: { id: 'alice' },
  DeleteUser: { id: 'bob' },
  CreateRole: { role: { id: 'crew' } },
  UpdateRole: { id: 'team' },
  GrantPermission: { id: 'team', permissions: ['kb:list'] },
  RevokePermission: { id: 'team', permissions: ['kb:read'] },
  DeleteRole: { id: 'empty' },
  CreateWorkspace: { workspace: { id: 'den' } },
  UpdateWorkspace: { id: 'studio' },
  DeleteWorkspace: { id: 'studio' },
  AddMember: { group: 'role:empty', member: 'user:alice' },
  RemoveMember: { group: 'role:team', member: 'user:alice' },
  CreateGrant: { principal: 'user:alice', path: 'infra', actions: ['create'] },
  RevokeGrant: { principal: 'user:alice', path: 'infra' },
  SetOwner: { path: 'work', owner: 'user:alice' },
  RemoveOwner: { path: 'infra' },
  PutPolicySet: { document: documentOf('writes') },
  UpdatePolicySet: { name: 'reads', mode: 'off' },
  DeletePolicySet: { name: 'reads' },
  CreateKey: { key: { id: 'k2', role: 'default_deny', mode: 'enforce' } },
  UpdateKey: { id: 'k' },
  RotateKey: { id: 'k' },
  RevokeKey: { id: 'k' },
  AttachPolicySet: { id: 'k', policy_set: 'other' },
  DetachPolicySet: { id: 'k', policy_set: 'reads' },
  CreateSession: { user: 'alice' },
  RevokeSession: { user: 'alice' },
};

/** Values of fields that take none of the caller's own; of all calls by the field, or of one by `Call.field`. */
const VALUES: Readonly<Record<string, unknown>> = {
  type: 'agent',
  metadata: { team: 'eng' },
  permissions: ['kb:share'],
  'RevokePermission.permissions': ['kb:write'],
  actions: ['read', 'admin'],
  'RevokeGrant.actions': ['read'],
  'key.actions': [{ action: 'graph.add' }],
  grant_options: ['create'],
  role: 'default_allow',
  mode: 'report_only',
  expires_at: LATER,
  roles: ['team'],
  workspaces: ['studio'],
  policy_sets: ['other'],
  members: ['user:olga'],
  'RemoveMember.members': ['user:bob'],
  document: documentOf(TEXT),
  grantor: 'user:bob',
  'key.user': 'alice',
};

/** Fields whose effect is a refusal that names something else. */
const REFUSALS: Readonly<Record<string, string>> = {
  'PutPolicySet.must_exist': 'there is no policy set `writes`',
  'PutPolicySet.must_not_exist': 'policy set `reads` exists already',
};

/** What a field needs beside it to have an effect. */
const BESIDE: Readonly<Record<string, Fields>> = {
  'PutPolicySet.must_not_exist': { document: documentOf('reads') },
};

/** Paths of a message's fields down to what is no message: `user.email`. */
function leaves(type: protobuf.Type, prefix = ''): readonly (readonly [string, protobuf.Field])[] {
  return type.fieldsArray.flatMap((field) => {
    field.resolve();
    const path = `${prefix}${field.name}`;
    const { resolvedType } = field;
    const isOwn =
      resolvedType instanceof protobuf.Type && !resolvedType.fullName.startsWith('.google.');
    const isRequest = ['user', 'users', 'role', 'workspace', 'key'].includes(path);
    if (!isOwn || (field.repeated && !isRequest)) return [[path, field] as const];
    return leaves(resolvedType, `${path}.`);
  });
}

const CASES = CALLS.flatMap((call) =>
  leaves(root.lookupType(`postern.v1.${call}Request`))
    .filter(([path]) => path !== 'tenant' && !path.startsWith('options.'))
    .map(([path, field]) => ({ call, path, field })),
);

function valueOf(call: string, path: string, field: protobuf.Field): unknown {
  for (const name of [`${call}.${path}`, path, field.name])
    if (Object.hasOwn(VALUES, name)) return VALUES[name];
  if (field.type === 'bool') return true;
  const one = field.type === 'string' ? TEXT : 7;
  return field.repeated ? [one] : one;
}

/** A message with a value at a path, and what the codec makes of its other fields. */
function withValue(type: protobuf.Type, message: Fields, path: string, value: unknown): Fields {
  const [name = '', ...rest] = path.split('.');
  const filled = { ...defaultsOf(type), ...message };
  if (name === '') return filled;
  if (rest.length === 0) return { ...filled, [name]: value };
  const { resolvedType, repeated } = type.fields[name] ?? expect.fail(path);
  if (!(resolvedType instanceof protobuf.Type)) return expect.fail(path);
  const inner = (at: unknown): Fields =>
    withValue(resolvedType, (at ?? {}) as Fields, rest.join('.'), value);
  const stood = filled[name];
  return {
    ...filled,
    [name]: repeated ? (stood as unknown[]).map(inner) : inner(stood),
  };
}

/** Fields that were left out: absent where the contract says `optional`, else their zero. */
function defaultsOf(type: protobuf.Type): Fields {
  return Object.fromEntries(
    type.fieldsArray.flatMap((field): [string, unknown][] => {
      const { name, repeated, resolvedType, options } = field;
      const isOptional = options?.['proto3_optional'] === true;
      if (name === 'tenant' || name === 'options' || isOptional) return [];
      if (repeated) return [[name, []]];
      if (resolvedType !== null) return [];
      return [[name, field.type === 'string' ? '' : field.type === 'bool' ? false : 0]];
    }),
  );
}

/** The least request as the codec would make it, with all nested messages filled. */
function leastOf(call: WriteName): Fields {
  const type = root.lookupType(`postern.v1.${call}Request`);
  const given = Object.entries(LEAST[call]).map(([name, value]): [string, unknown] => {
    const inner = type.fields[name]?.resolvedType;
    if (!(inner instanceof protobuf.Type)) return [name, value];
    const fill = (one: unknown): Fields => withValue(inner, one as Fields, '', undefined);
    return [name, Array.isArray(value) ? value.map(fill) : fill(value)];
  });
  return { ...defaultsOf(type), ...Object.fromEntries(given) };
}

let made: Promise<{ readonly room: Manager; readonly store: MemoryStore }> | undefined;

async function makeRoom(): Promise<{ readonly room: Manager; readonly store: MemoryStore }> {
  const store = openMemoryStore();
  const room = manager(store, () => NOW);
  const options = { dry_run: false, idempotency_key: '', expected_revision: 0, request_id: '' };
  await room.admin.apply(
    OPERATOR,
    { tenant: TENANT, options, ...PRUNE },
    bytesOf(stringify(STATE)),
  );
  await room.as('operator', 'CreateSession', { user: 'alice' });
  return { room, store };
}

/** What a call makes of the store, or how it is refused; the store is as before afterwards. */
async function done(call: WriteName, request: Fields): Promise<string | Refused> {
  const { room, store } = await (made ??= makeRoom());
  const before = store.image();
  try {
    const answer = await room.as('operator', call, request);
    return JSON.stringify([answer['revision'], answer['items'], plain(store.image())], replacer);
  } catch (error) {
    if (error instanceof Refused) return error;
    throw error;
  } finally {
    store.restore(before);
  }
}

function plain(value: unknown): unknown {
  if (value instanceof Map) return [...value].map(([key, one]) => [key, plain(one)]);
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, plain(one)]));
}

/** Without what is drawn anew each time. */
function replacer(key: string, value: unknown): unknown {
  if (['hash', 'digest', 'nonce', 'feed', 'time', 'at'].includes(key)) return undefined;
  return typeof value === 'string' ? value.replace(/^(s|k)-[0-9a-f]{12}$/, '$1') : value;
}

describe('a write of AdminService', () => {
  it('has a least request that is done, for each call', async () => {
    for (const call of CALLS) expect(await done(call, leastOf(call)), call).toBeTypeOf('string');
  });

  it.each(CASES)('$call: $path changes what is stored, or is refused by its name', async (one) => {
    const { call, path, field } = one;
    const type = root.lookupType(`postern.v1.${call}Request`);
    const value = valueOf(call, path, field);
    const request = {
      ...withValue(type, leastOf(call), path, value),
      ...BESIDE[`${call}.${path}`],
    };
    const outcome = await done(call, request);
    if (outcome instanceof Refused) {
      const named = REFUSALS[`${call}.${path}`];
      const texts = named === undefined ? [field.name, TEXT] : [named];
      const text = `${outcome.field} ${outcome.message}`;
      expect(
        texts.some((one) => text.includes(one)),
        text,
      ).toBe(true);
      return;
    }
    const least = await done(call, leastOf(call));
    expect(outcome).not.toBe(least);
    // Refused in the answer of its item, it names the field as well.
    if (
      call === 'BatchCreateUsers' &&
      outcome.includes('"error":"') &&
      !outcome.includes('"error":""')
    )
      expect(outcome).toMatch(new RegExp(`"error":"[^"]*(${field.name}|roles|no_login|${TEXT})`));
  });

  it.each(CALLS)('%s: its options are honoured', async (call) => {
    const { room, store } = await (made ??= makeRoom());
    const before = store.image();
    const least = leastOf(call);
    const plainOptions = {
      dry_run: false,
      idempotency_key: '',
      expected_revision: 0,
      request_id: '',
    };
    const send = (options: object): Promise<Fields> =>
      room.as('operator', call, { ...least, options: { ...plainOptions, ...options } });
    try {
      expect(await send({ dry_run: true })).toMatchObject({ result: { dry_run: true } });
      expect(plain(store.image())).toEqual(plain(before));
      const late = await send({ expected_revision: 99 }).catch((error: unknown) => error);
      expect(late).toMatchObject({ kind: 'aborted' });
      expect(await send({ idempotency_key: 'once', request_id: 'r-1' })).toMatchObject({
        result: { repeated: false },
      });
      expect(room.events.some(({ requestId }) => requestId === 'r-1')).toBe(true);
      // A tenant's receipts go with it: deleted again, it is as it was (ADM-9).
      expect(await send({ idempotency_key: 'once' })).toMatchObject({
        result: { repeated: call !== 'DeleteTenant' },
      });
    } finally {
      store.restore(before);
      room.events.length = 0;
    }
  });
});
