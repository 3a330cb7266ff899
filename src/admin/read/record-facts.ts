/**
 * The facts of each kind of record, as people name them: what was added, removed or changed between two records.
 * Every field of a record has its row here: the compiler asks for the row of a new one. A secret is never listed, only
 * that there is one more or one less.
 */
import { isDeepStrictEqual } from 'node:util';
import type {
  KeyRecord,
  OwnerRecord,
  PolicySetRecord,
  Records,
  RoleRecord,
  RuleRecord,
  SecretRow,
  StateKind,
  TenantRecord,
  UserRecord,
  WorkspaceRecord,
} from '../../engine/records.ts';
import {
  flag,
  groups,
  items,
  list,
  plain,
  shown,
  tellValue,
  value,
  type Aspect,
  type Aspects,
  type Tell,
} from './aspects.ts';
import { grants } from './grant-facts.ts';

/** A rule in one line, as a policy file would have it. */
function ruleText({ effect, actions, attributes, ...rest }: RuleRecord): string {
  const { id: _id, ...others } = rest;
  const limits = attributes === undefined ? {} : { attributes: Object.fromEntries(attributes) };
  const more = Object.entries({ ...limits, ...others })
    .map(([key, one]) => ` ${key} ${JSON.stringify(one)}`)
    .join('');
  return `${effect} ${actions.join(' ')}${more}`;
}

/** Free text, as it is written in a string. */
function textOf({ description }: { readonly description?: string }): string | undefined {
  return json(description);
}

/** How many secrets came, went or got another end: nothing of what they are. */
const SECRETS: Aspect<KeyRecord> = {
  tell(name, before, after, tell) {
    const of = (record: KeyRecord | undefined): ReadonlyMap<string, SecretRow> =>
      new Map((record?.secrets ?? []).map((row) => [row.hash, row]));
    const [old, now] = [of(before), of(after)];
    for (const [hash, row] of now)
      if (!old.has(hash)) tell(plain('add', 'secret', name, [], `secret of ${name}`));
      else if (old.get(hash)?.expiresAt !== row.expiresAt)
        tellValue(
          'end of a secret',
          name,
          timeText(old.get(hash)?.expiresAt),
          timeText(row.expiresAt),
          tell,
        );
    for (const hash of old.keys())
      if (!now.has(hash)) tell(plain('remove', 'secret', name, [], `secret of ${name}`));
  },
};

const METADATA: Aspect<UserRecord> = {
  tell(name, before, after, tell) {
    const of = (record: UserRecord | undefined): ReadonlyMap<string, unknown> =>
      new Map(Object.entries(record?.metadata ?? {}));
    const [old, now] = [of(before), of(after)];
    for (const key of new Set([...now.keys(), ...old.keys()]))
      if (!isDeepStrictEqual(old.get(key), now.get(key))) {
        const [was, is] = [json(old.get(key)), json(now.get(key))];
        // The key is part of the value: whoever counts facts counts no keys of users.
        const entry = (one: string | undefined): string[] =>
          one === undefined ? [] : [`${key}:=${one}`];
        tellValue('metadata', name, was, is, (fact) =>
          tell({
            ...fact,
            before: entry(was),
            after: entry(is),
            text: fact.text.replace('metadata', () => `metadata ${shown(key)}`),
          }),
        );
      }
  },
};

function json(one: unknown): string | undefined {
  return one === undefined ? undefined : JSON.stringify(one);
}

/** RFC 3339. */
function timeText(ms: number | undefined): string | undefined {
  return ms === undefined ? undefined : new Date(ms).toISOString();
}

// ── a row for each field ──────────────────────────────────────────────────────────────────────────

const TENANT: Aspects<TenantRecord> = {
  id: undefined,
  migrations: list('migration', ({ migrations }) => migrations?.map(({ name }) => name)),
  // A tombstone is a record that is not there.
  deleted: undefined,
  deletedBy: undefined,
  deletedAt: undefined,
};

const USER: Aspects<UserRecord> = {
  id: undefined,
  type: value('type', ({ type }) => type, 'user'),
  externalId: value('external id', ({ externalId }) => externalId),
  email: value('email', ({ email }) => email),
  metadata: METADATA,
  superuser: flag('superuser', ({ superuser }) => superuser),
  createrole: flag('createrole', ({ createrole }) => createrole),
  suspended: flag('suspension', ({ suspended }) => suspended),
  // A tombstone is a record that is not there.
  deleted: undefined,
  roles: groups('role', ({ roles }) => roles),
  workspaces: groups('workspace', ({ workspaces }) => workspaces),
  grants: grants(),
  // The record of the path tells it.
  owns: undefined,
  adminOf: list(
    'admin option',
    ({ adminOf }) => adminOf,
    (values, name) => `admin option of ${values} to ${name}`,
  ),
  sessions: list('session', ({ sessions }) => sessions?.map(({ id }) => id)),
};

const ROLE: Aspects<RoleRecord> = {
  id: undefined,
  description: value('description', textOf),
  level: value('level', ({ level }) => String(level), '0'),
  permissions: list('permission', ({ permissions }) => permissions),
  system: flag('system flag', ({ system }) => system),
  roles: groups('role', ({ roles }) => roles),
  workspaces: groups('workspace', ({ workspaces }) => workspaces),
  grants: grants(),
  // It follows from the memberships.
  closure: undefined,
  // Whoever did it.
  creator: undefined,
};

const WORKSPACE: Aspects<WorkspaceRecord> = {
  id: undefined,
  description: value('description', textOf),
  grants: grants(),
  creator: undefined,
};

const OWNER: Aspects<OwnerRecord> = {
  path: undefined,
  owner: {
    whenDeleted: true,
    tell(_name, before, after, tell) {
      const { path } = after ?? before ?? { path: '' };
      const [old, now] = [before?.owner, after?.owner];
      if (old === now) return;
      const values = [old, now].flatMap((one) => (one === undefined ? [] : [one]));
      tell({
        change: old === undefined ? 'add' : now === undefined ? 'remove' : 'change',
        fact: 'owner',
        of: '',
        path,
        before: old === undefined ? [] : [`user:${old}`],
        after: now === undefined ? [] : [`user:${now}`],
        text: `owner ${values.join(' → ')} of '${path}'`,
      });
    },
  },
  grantor: {
    tell(_name, before, after, tell) {
      const [old, now] = [before?.grantor ?? 'operator', after?.grantor ?? 'operator'];
      // Of an owner that comes or goes it is listed with the owner.
      if (old === now || before === undefined || before.owner !== after?.owner) return;
      tell({
        change: 'change',
        fact: 'owner',
        of: '',
        path: after.path,
        before: [old],
        after: [now],
        text: `owner ${after.owner} of '${after.path}' by ${old} → ${now}`,
      });
    },
  },
};

const POLICY_SET: Aspects<PolicySetRecord> = {
  name: undefined,
  description: value('description', textOf),
  mode: value('mode', ({ mode }) => mode),
  version: value('version', ({ version }) => String(version)),
  rules: items(
    'rule',
    ({ rules }) => rules,
    ({ id }) => id,
    ruleText,
  ),
};

const KEY: Aspects<KeyRecord> = {
  id: undefined,
  description: value('description', textOf),
  role: value('role', ({ role }) => role),
  mode: value('mode', ({ mode }) => mode),
  policySets: { ...list('policy set', ({ policySets }) => policySets), whenDeleted: true },
  user: value('user', ({ user }) => user),
  createdAt: undefined,
  expiresAt: value('end', ({ expiresAt }) => timeText(expiresAt)),
  revoked: flag('revocation', ({ revoked }) => revoked === true),
  rateLimit: value('rate limit', ({ rateLimit }) =>
    rateLimit === undefined ? undefined : `${rateLimit.requests}/${rateLimit.seconds}s`,
  ),
  secrets: SECRETS,
};

const ASPECTS: { readonly [K in StateKind]: Aspects<Records[K]> } = {
  tenant: TENANT,
  user: USER,
  role: ROLE,
  workspace: WORKSPACE,
  owner: OWNER,
  policy_set: POLICY_SET,
  key: KEY,
  // A group that is deleted is listed with its own record.
  tombstone: { id: undefined },
};

/** Tells the facts that changed between two records of a kind; `undefined`, or a tombstone: there is none. */
export function tellFacts<K extends StateKind>(
  kind: K,
  id: string,
  before: Records[K] | undefined,
  after: Records[K] | undefined,
  tell: Tell,
): void {
  const [old, now] = [living(before), living(after)];
  // The record of an owner has one fact, which its aspect lists.
  if (kind !== 'owner' && (old === undefined) !== (now === undefined)) {
    const name = nameOf(old ?? now) ?? id;
    const words = kind.replaceAll('_', ' ');
    tell(plain(old === undefined ? 'add' : 'remove', words, '', [name], `${words} ${name}`));
  }
  const name = `${kind}:${nameOf(now ?? old) ?? id}`;
  // The rows of a kind are for the records of that kind.
  for (const aspect of Object.values<Aspect<Records[K]> | undefined>(ASPECTS[kind]))
    if (aspect !== undefined && (now !== undefined || aspect.whenDeleted === true))
      aspect.tell(name, old, now, tell);
}

/** A tombstone stands for no record (ACL-4). */
function living<R extends object>(record: R | undefined): R | undefined {
  return record !== undefined && 'deleted' in record && record.deleted === true
    ? undefined
    : record;
}

/** The record of a tenant has its name, but is stored without an id. */
function nameOf(record: object | undefined): string | undefined {
  return record !== undefined && 'id' in record && typeof record.id === 'string' && record.id !== ''
    ? record.id
    : undefined;
}
