/** The admin room over a real store, with actors by name: what its tests ask. */
import { randomBytes } from 'node:crypto';
import { openAdmin } from '../../src/admin/admin.ts';
import type { Admin, ManagementEvent } from '../../src/admin/admin-contract.ts';
import { OPERATOR, type Actor } from '../../src/admin/actor.ts';
import { Refused } from '../../src/admin/refused.ts';
import { parseCatalog } from '../../src/config/catalog.ts';
import { readSource } from '../../src/config/document.ts';
import { parseDefaultRoles } from '../../src/config/roles.ts';
import { mintKey, mintSession } from '../../src/identity/token.ts';
import type { Store } from '../../src/store/store.ts';

export const catalog = parseCatalog(readSource('config/actions.yaml'));
export const defaults = parseDefaultRoles(readSource('config/roles.yaml'));

/** Tells an export as its text, too. */
interface Exporting extends Admin {
  export(
    ...asked: Parameters<Admin['export']>
  ): Promise<Awaited<ReturnType<Admin['export']>> & { readonly text: string }>;
}

export interface Manager {
  readonly admin: Exporting;
  readonly events: ManagementEvent[];
  /** Does a call as `operator`, `alice`, or `key:agent-1/alice`; fields that are left out are the codec's defaults. */
  readonly as: (who: string, call: string, request?: object) => Promise<Record<string, unknown>>;
  /** The refusal that a call ends with. */
  readonly refused: (who: string, call: string, request?: object) => Promise<Refused>;
}

export const TENANT = 'acme';

/** A state as `apply` reads it. */
export const bytesOf = (text: string) => (): Uint8Array<ArrayBuffer>[] => [
  new TextEncoder().encode(text),
];
/** What an `apply` says that takes its state for the whole truth. */
export const PRUNE = { prune: true, keep: false };

export function manager(store: Store, now: () => number = Date.now): Manager {
  const events: ManagementEvent[] = [];
  const admin = openAdmin({
    store,
    catalog: () => catalog,
    defaults,
    mint: {
      key: mintKey,
      session: mintSession,
      id: (prefix) => `${prefix}-${randomBytes(6).toString('hex')}`,
    },
    now,
    record: (event) => events.push(event),
  });
  const as: Manager['as'] = async (who, call, request = {}) => {
    const defaultsOf = DEFAULTS[call] ?? {};
    const nested = Object.fromEntries(
      Object.entries(request).map(([name, value]: [string, unknown]) => [
        name,
        NESTED[name] !== undefined && typeof value === 'object' && !Array.isArray(value)
          ? { ...NESTED[name], ...value }
          : value,
      ]),
    );
    const answer = await admin.call(call, actorOf(who), {
      tenant: TENANT,
      ...defaultsOf,
      ...nested,
    });
    return { ...answer };
  };
  const exporting: Exporting = {
    ...admin,
    async export(...asked) {
      const { revision, pieces } = await admin.export(...asked);
      return { revision, pieces, text: Buffer.concat(pieces).toString() };
    },
  };
  return {
    admin: exporting,
    events,
    as,
    async refused(who, call, request): Promise<Refused> {
      const answer = await as(who, call, request).catch((error: unknown) => error);
      if (answer instanceof Refused) return answer;
      throw answer instanceof Error
        ? answer
        : new Error(`${who} was not refused ${call}: ${JSON.stringify(answer)}`);
    },
  };
}

export function actorOf(who: string): Actor {
  if (who === 'operator') return OPERATOR;
  const key = /^key:([^/]+)\/(.+)$/.exec(who);
  return key === null
    ? { user: who, keyId: undefined, via: 'test' }
    : { user: key[2], keyId: key[1], via: 'test' };
}

const PAGE = { page_size: 0, page_token: '' };

/** What the codec makes of fields that are left out. */
const DEFAULTS: Readonly<Record<string, object>> = {
  CreateTenant: { owner: '' },
  ListTenants: PAGE,
  GetKey: { action: '' },
  DeleteUser: { reassign_to: '' },
  ListUsers: { external_id: '', email: '', include_deleted: false, ...PAGE },
  ListRoles: PAGE,
  ListWorkspaces: PAGE,
  ListMembers: PAGE,
  ListPolicySets: PAGE,
  ListKeys: { user: '', policy_set: '', ...PAGE },
  ListGrants: { principal: '', grantor: '', ...PAGE },
  ListOwners: { owner: '', ...PAGE },
  ListChanges: { after: 0, page_size: 0 },
  AddMember: { admin_option: false },
  CreateGrant: { grant_option: false, grant_options: [], replace: false },
  RevokeGrant: { actions: [], grantor: '', all_grantors: false, grant_option_only: false },
  PutPolicySet: { must_exist: false, must_not_exist: false },
  GetPolicySet: { version: 0 },
  RotateKey: { overlap_seconds: 0 },
  CreateSession: { user: '', ttl_seconds: 0 },
  RevokeSession: { user: '', id: '' },
  ListSessions: { user: '' },
};

const NESTED: Readonly<Record<string, object>> = {
  user: {
    id: '',
    type: '',
    external_id: '',
    email: '',
    superuser: false,
    createrole: false,
    no_login: false,
    roles: [],
    workspaces: [],
  },
  role: { id: '', description: '', level: 0, permissions: [] },
  workspace: { id: '', description: '' },
  key: {
    id: '',
    description: '',
    role: 'default_deny',
    mode: 'enforce',
    policy_sets: [],
    user: '',
    expires_at: '',
  },
  options: { dry_run: false, idempotency_key: '', expected_revision: 0, request_id: '' },
};
