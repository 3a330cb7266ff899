/** Declarative management: make a tenant's facts what a state file says, in one commit. */
import { isDeepStrictEqual } from 'node:util';
import type { DefaultRole } from '../config/roles.ts';
import type { Finding, StateFile } from '../config/state.ts';
import type { StateKind } from '../engine/records.ts';
import {
  readAll,
  StoreError,
  type Change,
  type FactValue,
  type Head,
  type Store,
} from '../store/store.ts';
import { findReceipt, once, receiptChanges } from './receipt.ts';
import { fromDefaults, toFacts, toState, type BaseRole, type TenantFacts } from './state.ts';

const KINDS = ['tenant', 'user', 'role', 'workspace', 'owner', 'policy_set', 'key'] as const;

/** How often a commit is planned again because somebody else committed meanwhile. */
const MAX_ATTEMPTS = 10;

type StateChange = Change & { readonly kind: StateKind };

export interface Plan {
  readonly expected: number;
  /** Of that revision; `undefined`: there is none yet. */
  readonly nonce: string | undefined;
  readonly changes: readonly StateChange[];
  /** The same changes for people, in the order of kinds and ids. */
  readonly summary: readonly PlannedChange[];
}

export interface PlannedChange {
  readonly change: 'create' | 'update' | 'delete';
  readonly kind: StateKind;
  readonly id: string;
}

export class StateError extends Error {
  readonly findings: readonly Finding[];

  constructor(findings: readonly Finding[]) {
    super(findings.map(({ message }) => message).join('\n'));
    this.name = 'StateError';
    this.findings = findings;
  }
}

/** What applying the state would change. @throws StateError where the state contradicts itself. */
export async function planState(
  store: Store,
  state: StateFile,
  defaults: readonly DefaultRole[],
): Promise<Plan> {
  const { head, records } = await readAll(store, state.tenant, KINDS);
  const base = head === undefined ? newTenantRoles(state, defaults) : keptRoles(records);
  const built = toFacts(withTombstones(state, records), base);
  if ('findings' in built) throw new StateError(built.findings);
  const changes = KINDS.flatMap((kind) => diff(kind, records[kind], built.facts[kind]));
  return {
    expected: head?.revision ?? 0,
    nonce: head?.nonce,
    changes,
    summary: changes.map(({ kind, id, value }) => ({
      change: !records[kind].has(id) ? 'create' : isGone(value) ? 'delete' : 'update',
      kind,
      id,
    })),
  };
}

export interface Applied {
  /** The tenant's revision afterwards, or that of the first time. 0: there is no such tenant. */
  readonly revision: number;
  readonly plan: Plan;
  /** It was done before, under the same idempotency key. */
  readonly repeated: boolean;
}

/**
 * Applies a state in one commit; an empty plan commits nothing, or its receipt.
 * @param key done at most once under it (CONS-5)
 * @throws IdempotencyError, StateError, UnknownOutcomeError: then again with the same key
 */
export async function applyState(
  store: Store,
  state: StateFile,
  defaults: readonly DefaultRole[],
  actor: string,
  key?: string,
): Promise<Applied> {
  const { tenant } = state;
  const asked = key === undefined ? undefined : once(key, state);
  for (let attempt = 1; attempt <= MAX_ATTEMPTS; attempt++) {
    const plan = await planState(store, state, defaults);
    const { expected, nonce } = plan;
    // After the plan: what is done between the two makes the commit fail.
    const receipt = asked && (await findReceipt(store, tenant, asked));
    if (receipt !== undefined || (asked === undefined && plan.changes.length === 0)) {
      // Somebody may have been told that the first time is not known to last.
      if (expected > 0) await store.settle(tenant);
      return receipt === undefined
        ? { revision: expected, plan, repeated: false }
        : {
            revision: receipt.revision,
            plan: { ...plan, changes: [], summary: [] },
            repeated: true,
          };
    }
    const receipts = asked && (await receiptChanges(store, tenant, asked, expected + 1));
    const changes = [...plan.changes, ...(receipts ?? [])];
    const event = { actor, operation: 'state.apply' };
    const result = await store.commit({ tenant, expected, nonce, changes, event });
    if (result.committed) return { revision: result.head.revision, plan, repeated: false };
  }
  throw new StoreError(
    `tenant \`${state.tenant}\` was changed by others ${MAX_ATTEMPTS} times while the state was planned: try again`,
  );
}

/** A tenant's whole state; `undefined`: it does not exist. */
export async function exportState(
  store: Store,
  tenant: string,
): Promise<{ readonly head: Head; readonly state: StateFile } | undefined> {
  const { head, records } = await readAll(store, tenant, KINDS);
  return head === undefined ? undefined : { head, state: toState(tenant, records) };
}

/** A state that lists a role as `system` restores it as it was; else the default roles are given (RBAC-4). */
function newTenantRoles(state: StateFile, defaults: readonly DefaultRole[]): BaseRole[] {
  const restored = new Set(
    (state.roles ?? []).filter(({ system }) => system === true).map(({ id }) => id),
  );
  return fromDefaults(defaults).filter(({ id }) => !restored.has(id));
}

/** System roles stay, whether the state lists them or not (RBAC-4). */
function keptRoles({ role }: TenantFacts): BaseRole[] {
  return [...role.values()].filter(({ system }) => system);
}

/** Users that the state no longer lists become tombstones, so that no access list revives them (ACL-4, ADM-8). */
function withTombstones(state: StateFile, stored: TenantFacts): StateFile {
  const listed = new Set((state.users ?? []).map(({ id }) => id));
  const gone = [...stored.user.keys()].filter((id) => !listed.has(id));
  return {
    ...state,
    users: [...(state.users ?? []), ...gone.map((id) => ({ id, deleted: true }))],
  };
}

function diff(
  kind: StateKind,
  stored: ReadonlyMap<string, FactValue>,
  wanted: ReadonlyMap<string, FactValue>,
): StateChange[] {
  const changes: StateChange[] = [];
  for (const [id, value] of wanted) {
    const old = stored.get(id);
    // A policy set counts its puts: it is compared at its stored version, and written at the next.
    const version = old !== undefined && 'version' in old ? old.version : undefined;
    if (isDeepStrictEqual(old, version === undefined ? value : { ...value, version })) continue;
    const next = version === undefined ? value : { ...value, version: version + 1 };
    changes.push({ kind, id, value: next });
  }
  for (const id of stored.keys()) if (!wanted.has(id)) changes.push({ kind, id, value: undefined });
  return changes;
}

function isGone(value: Change['value']): boolean {
  return value === undefined || ('deleted' in value && value.deleted);
}
