/** Declarative management: make a tenant's facts what a state file says, in one commit. */
import { isDeepStrictEqual } from 'node:util';
import { parseSource } from '../../config/document.ts';
import { ConfigError, formatProblem } from '../../config/problem.ts';
import type { PolicyLimits } from '../../config/policy-limits.ts';
import type { DefaultRole } from '../../config/roles.ts';
import { lintState, parseState, type Finding, type StateFile } from '../../config/state.ts';
import type { Catalog } from '../../engine/action.ts';
import type {
  PolicySetRecord,
  PolicyVersionRecord,
  Records,
  StateKind,
} from '../../engine/records.ts';
import {
  readAll,
  StoreError,
  UnknownOutcomeError,
  type Change,
  type FactValue,
  type Head,
  type Store,
} from '../../store/store.ts';
import { tokenOf } from '../../store/format/token.ts';
import type { Actor } from '../actor.ts';
import { newTenant, type Baseline } from '../migrations/baseline.ts';
import { deriveAll } from '../links.ts';
import { KEPT_VERSIONS, versionId } from '../rules/policy-versions.ts';
import { findReceipt, once, receiptChanges, receiptToken } from '../receipt.ts';
import { denied, forbidden, invalid, notFound, Refused } from '../refused.ts';
import { fromDefaults, toFacts, toState, type BaseRole, type TenantFacts } from './tenant-state.ts';
import { mustNotBeDeleted } from '../tenant/deleted.ts';
import { createdAgainBy, tombstonesAfter } from '../rules/tombstones.ts';
import { keepUnlisted } from './keep.ts';
import { describeRemovals, removalsOf, type Removal } from './removals.ts';
import { mustBeExpected, whileExpected } from '../expected.ts';
import { unjustified } from '../tree/standing.ts';
import { stateText } from './text.ts';
import { factsWorld, type Difference } from '../world.ts';
import {
  actorName,
  factsOf,
  isTold,
  mustKeepAnOwner,
  type Done,
  type Environment,
  UnknownWriteError,
  type WriteOptions,
} from '../commit.ts';

/** What a tenant's state is made of. */
export const KINDS = [
  'tenant',
  'user',
  'role',
  'workspace',
  'owner',
  'policy_set',
  'key',
  'tombstone',
] as const;
const DERIVED = ['refs', 'name'] as const;

/** How often a commit is planned again because somebody else committed meanwhile. */
const MAX_ATTEMPTS = 10;

/** A record of the state that changes, with what it was. */
type StateChange = Change & { readonly kind: StateKind; readonly before: FactValue | undefined };

export interface Plan {
  readonly expected: number;
  /** Of that revision; `undefined`: there is none yet. */
  readonly nonce: string | undefined;
  readonly changes: readonly StateChange[];
  /** What follows from them: indexes, and versions of policy sets. */
  readonly derived: readonly Change[];
  /** The same changes for people, in the order of kinds and ids. */
  readonly summary: readonly PlannedChange[];
  /** What whoever applies it should know. */
  readonly warnings: readonly string[];
  /** What of the changes takes something away (ADM-10). */
  readonly removals: readonly Removal[];
}

const EMPTY_PLAN: Plan = {
  expected: 0,
  nonce: undefined,
  changes: [],
  derived: [],
  summary: [],
  warnings: [],
  removals: [],
};

/** What becomes of what is stored and not listed: removed, left, or the state is refused where there is any (ADM-10). */
export type Unlisted = 'prune' | 'keep' | 'refuse';

/** How a state is applied. */
export interface ApplyOptions {
  /** Done at most once under it (CONS-5). */
  readonly key?: string | undefined;
  /** Who applies it, where that matters: a refusal of this one comes before any of the state. */
  readonly who?: Applier;
  /** Migrations that the defaults include. */
  readonly baseline?: Baseline | undefined;
  /** `prune` where it is left out: the state is the whole truth. */
  readonly unlisted?: Unlisted;
  /** Aborted: whoever asked has gone, and nothing is committed. */
  readonly signal?: AbortSignal | undefined;
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

/**
 * What applying the state would change.
 * @throws StateError where the state contradicts itself; Refused
 */
export async function planState(
  store: Store,
  listed: StateFile,
  defaults: readonly DefaultRole[],
  options: ApplyOptions = {},
): Promise<Plan> {
  const { who = OPERATOR_APPLIES, baseline = [], unlisted = 'prune' } = options;
  const { head, records } = await readAll(store, listed.tenant, [...KINDS, ...DERIVED]);
  who.may(records, head);
  mustNotBeDeleted(records.tenant.get(''));
  const state =
    unlisted === 'keep' && head !== undefined
      ? keepUnlisted(listed, toState(listed.tenant, records))
      : withTombstones(listed, records);
  const base = head === undefined ? newTenantRoles(state, defaults) : keptRoles(records);
  const built = toFacts(state, base, (kind, id) =>
    kind === 'tenant' ? head !== undefined : isKnown(records, kind, id),
  );
  if ('findings' in built) throw new StateError(built.findings);
  const named =
    head === undefined
      ? withBaseline(built.facts, state, baseline)
      : withKept(built.facts, records);
  const facts = { ...named, tombstone: tombstonesAfter(records, named) };
  const findings = unjustifiedRows(facts, state);
  if (findings.length > 0) throw new StateError(findings);
  const versions = await versionsOf(store, state.tenant, records, facts);
  const changes = KINDS.flatMap((kind) => diff(kind, records[kind], facts[kind], versions));
  const derived = deriveAll(facts);
  const removals = head === undefined ? [] : removalsOf(changes, listed);
  // Else it is refused for what it removes, and all of that is told (ADM-10).
  if (unlisted !== 'refuse' || removals.length === 0)
    mustKeepAnOwner(
      [...records.refs].map(([id, before]) => ({
        kind: 'refs',
        id,
        before,
        after: derived.refs.get(id),
      })),
    );
  return {
    expected: head?.revision ?? 0,
    nonce: head?.nonce,
    changes,
    derived: [
      ...DERIVED.flatMap((kind) => derivedChanges(kind, records[kind], derived[kind])),
      ...versionChanges(changes, who.name),
    ],
    summary: changes.filter(isTold).map(({ kind, id, value }) => ({
      change: !records[kind].has(id) ? 'create' : isGone(value) ? 'delete' : 'update',
      kind,
      id,
    })),
    warnings: createdAgainBy(records, facts),
    removals,
  };
}

/** ADM-10. @throws Refused FAILED_PRECONDITION with the removals */
function mustRemoveNothing(tenant: string, { removals }: Plan, unlisted: Unlisted = 'prune'): void {
  if (unlisted === 'refuse' && removals.length > 0)
    throw forbidden(
      'ADM-10',
      `the state does not list ${removals.length} thing(s) that tenant \`${tenant}\` has (${describeRemovals(removals)}): say \`prune\` (--prune) to remove them, or \`keep\` (--keep) to leave them`,
    );
}

/** Who applies a state: everybody who may is told of as the operator unless a name is given. */
export interface Applier {
  readonly name: string;
  /** @throws Refused */
  readonly may: (records: TenantFacts, head: Head | undefined) => void;
}

const OPERATOR_APPLIES: Applier = { name: 'operator', may: () => {} };

/**
 * A new tenant has what the migrations have made of its default roles. One that brings system roles of its own is
 * restored as it once was: which migrations that was after is not known, and applying them all again does no harm.
 */
function withBaseline(facts: TenantFacts, state: StateFile, baseline: Baseline): TenantFacts {
  if ((state.roles ?? []).some(({ system }) => system === true)) return facts;
  const tenant = new Map(facts.tenant);
  tenant.set('', newTenant(state.tenant, baseline, Date.now()));
  return { ...facts, tenant };
}

/** What a state file does not say and an apply leaves as it is: secrets, sessions, what was revoked, migrations. */
function withKept(facts: TenantFacts, stored: TenantFacts): TenantFacts {
  const key = new Map(facts.key);
  for (const [id, next] of key) {
    const { createdAt, secrets, revoked } = stored.key.get(id) ?? {};
    key.set(id, {
      ...next,
      ...(createdAt === undefined ? {} : { createdAt }),
      ...(revoked === true ? { revoked } : {}),
      ...(secrets === undefined || next.revoked === true ? {} : { secrets }),
    });
  }
  const user = new Map(facts.user);
  for (const [id, next] of user) {
    const { sessions } = stored.user.get(id) ?? {};
    if (sessions !== undefined && !next.deleted) user.set(id, { ...next, sessions });
  }
  const tenant = new Map(facts.tenant);
  const { migrations } = stored.tenant.get('') ?? {};
  for (const [id, next] of tenant)
    if (migrations !== undefined) tenant.set(id, { ...next, migrations });
  return { ...facts, key, user, tenant };
}

/** Versions that new policy sets count on from: those of sets of the same name that were deleted. */
async function versionsOf(
  store: Store,
  tenant: string,
  stored: TenantFacts,
  wanted: TenantFacts,
): Promise<ReadonlyMap<string, number>> {
  const fresh = [...wanted.policy_set.keys()].filter((name) => !stored.policy_set.has(name));
  const { values } = await store.get(
    tenant,
    fresh.map((name) => ({ kind: 'policy_version', id: versionId(name, 0) })),
  );
  return new Map(
    fresh.map((name, index) => {
      // The store returns a record of the kind that was asked for.
      const newest = values[index] as PolicyVersionRecord | undefined;
      return [name, newest?.set.version ?? 0];
    }),
  );
}

/** The history of the policy sets that an apply puts or deletes. */
function versionChanges(changes: readonly StateChange[], actor: string): Change[] {
  const at = Date.now();
  return changes.flatMap(({ kind, id: name, value, before }): Change[] => {
    if (kind !== 'policy_set') return [];
    const record = (number: number, set: PolicySetRecord | undefined): Change => {
      const id = versionId(name, number);
      return { kind: 'policy_version', id, value: set && { id, set, actor, at } };
    };
    // Records of this kind are what their kind says.
    const set = value as PolicySetRecord | undefined;
    const newest = set?.version ?? (before as PolicySetRecord).version;
    const oldest = Math.max(0, newest - KEPT_VERSIONS);
    if (set !== undefined)
      return [
        record(newest, set),
        record(0, set),
        ...(oldest > 0 ? [record(oldest, undefined)] : []),
      ];
    return Array.from({ length: newest - oldest }, (_, index) =>
      record(oldest + index + 1, undefined),
    );
  });
}

function derivedChanges<K extends 'refs' | 'name'>(
  kind: K,
  stored: ReadonlyMap<string, Records[K]>,
  wanted: ReadonlyMap<string, Records[K]>,
): Change[] {
  const changes: Change[] = [];
  for (const [id, value] of wanted)
    if (!isDeepStrictEqual(stored.get(id), value)) changes.push({ kind, id, value });
  for (const id of stored.keys()) if (!wanted.has(id)) changes.push({ kind, id, value: undefined });
  return changes;
}

/** ADM-2 for a state: what names a grantor stands only where that one may give it. */
function unjustifiedRows(facts: TenantFacts, state: StateFile): Finding[] {
  const { rows, owners } = unjustified(factsWorld(state.tenant, facts));
  const isNamed = (name: string, ref: string | undefined): boolean =>
    ref !== undefined && (ref === name || name.endsWith(`:${ref}`));
  return [
    ...rows.map(([{ holder, row }, lost]): Finding => {
      const name = `${holder.type}:${holder.id}`;
      const index = (state.grants ?? []).findIndex(
        ({ path, grantor, principal }) =>
          path === row.path && isNamed(name, principal) && isNamed(row.grantor, grantor),
      );
      return {
        path: index < 0 ? ['grants'] : ['grants', index],
        message: `\`${row.grantor}\` may not give ${lost.join(', ')} on '${row.path}': leave \`grantor\` out, or give it the right (ADM-2)`,
      };
    }),
    ...owners.map(({ path, grantor }): Finding => {
      const index = (state.owners ?? []).findIndex((entry) => entry.path === path);
      return {
        path: index < 0 ? ['owners'] : ['owners', index],
        message: `\`${grantor}\` may not set the owner of '${path}': leave \`grantor\` out, or give it the right (ADM-2)`,
      };
    }),
  ];
}

export interface Applied {
  /** The tenant's revision afterwards, or that of the first time. 0: there is no such tenant. */
  readonly revision: number;
  /** Names the revision and its history (CONS-1); `''`: it is not known any more. */
  readonly token: string;
  readonly plan: Plan;
  /** It was done before, under the same idempotency key. */
  readonly repeated: boolean;
}

/**
 * Applies a state in one commit; an empty plan commits nothing, or its receipt.
 * @throws IdempotencyError, StateError, Refused, UnknownOutcomeError: then again with the same key
 */
export async function applyState(
  store: Store,
  state: StateFile,
  defaults: readonly DefaultRole[],
  actor: string,
  options: ApplyOptions = {},
): Promise<Applied> {
  const { key, unlisted, signal } = options;
  const who = options.who ?? { ...OPERATOR_APPLIES, name: actor };
  const { tenant } = state;
  const asked = key === undefined ? undefined : once(key, [state, unlisted ?? 'prune']);
  for (let attempt = 1; attempt <= MAX_ATTEMPTS; attempt++) {
    let plan: Plan;
    try {
      plan = await planState(store, state, defaults, { ...options, who });
      mustRemoveNothing(tenant, plan, unlisted);
    } catch (error) {
      // What was done once may not be possible again: the tenant is past the revision that was expected.
      const again =
        error instanceof StateError ||
        (error instanceof Refused && error.kind !== 'permission_denied');
      const receipt = again && asked && (await findReceipt(store, tenant, asked));
      if (typeof receipt !== 'object') throw error;
      await store.settle(tenant);
      return {
        revision: receipt.revision,
        token: await receiptToken(store, tenant, receipt),
        plan: EMPTY_PLAN,
        repeated: true,
      };
    }
    const { expected, nonce } = plan;
    // After the plan: what is done between the two makes the commit fail.
    const receipt = asked && (await findReceipt(store, tenant, asked));
    if (
      receipt !== undefined ||
      (asked === undefined && plan.changes.length + plan.derived.length === 0)
    ) {
      // Somebody may have been told that the first time is not known to last.
      if (expected > 0) await store.settle(tenant);
      return receipt === undefined
        ? { revision: expected, token: tokenOfPlan(tenant, plan), plan, repeated: false }
        : {
            revision: receipt.revision,
            token: await receiptToken(store, tenant, receipt),
            plan: { ...EMPTY_PLAN, expected, nonce },
            repeated: true,
          };
    }
    const receipts = asked && (await receiptChanges(store, tenant, asked, expected + 1));
    const changes = [
      ...plan.changes.map(({ kind, id, value }) => ({ kind, id, value })),
      ...plan.derived,
      ...(receipts ?? []),
    ];
    const event = { actor, operation: 'state.apply' };
    // Who is gone is told between two turns.
    if (signal !== undefined) await new Promise((turn) => setImmediate(turn));
    mustStillWait(signal);
    const result = await store
      .commit({ tenant, expected, nonce, changes, event })
      .catch((error: unknown) => {
        throw error instanceof UnknownOutcomeError
          ? new UnknownWriteError(error, expected + 1, differencesOf(plan))
          : error;
      });
    if (result.committed) {
      const token = tokenOf(tenant, result.head);
      return { revision: result.head.revision, token, plan, repeated: false };
    }
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
  const isHere = head !== undefined && records.tenant.get('')?.deleted !== true;
  return !isHere ? undefined : { head, state: toState(tenant, records) };
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

/** Whether a record of that id is there, or a tombstone of it. */
function isKnown(records: TenantFacts, kind: StateKind, id: string): boolean {
  return records[kind].has(id) || records.tombstone.has(`${kind}:${id}`);
}

function diff(
  kind: StateKind,
  stored: ReadonlyMap<string, FactValue>,
  wanted: ReadonlyMap<string, FactValue>,
  versions: ReadonlyMap<string, number>,
): StateChange[] {
  const changes: StateChange[] = [];
  for (const [id, value] of wanted) {
    const old = stored.get(id);
    // A policy set counts its puts: it is compared at its stored version, and written at the next.
    const counted = old ?? { version: kind === 'policy_set' ? (versions.get(id) ?? 0) : undefined };
    const version = 'version' in counted ? counted.version : undefined;
    if (isDeepStrictEqual(old, version === undefined ? value : { ...value, version })) continue;
    const next = version === undefined ? value : { ...value, version: version + 1 };
    changes.push({ kind, id, value: next, before: old });
  }
  for (const [id, before] of stored)
    if (!wanted.has(id)) changes.push({ kind, id, value: undefined, before });
  return changes;
}

function isGone(value: Change['value']): boolean {
  return value === undefined || ('deleted' in value && value.deleted);
}

/** @throws Refused ABORTED where whoever asked has cancelled, or is lost */
function mustStillWait(signal: AbortSignal | undefined): void {
  if (signal?.aborted === true)
    throw new Refused(
      'aborted',
      'whoever sent the state did not wait for the answer: nothing is applied',
      'CONS-5',
    );
}

/** What a caller says of what its state does not list. */
export interface ApplyFlags {
  readonly prune: boolean;
  readonly keep: boolean;
}

/** @throws Refused INVALID_ARGUMENT */
export function unlistedOf({ prune, keep }: ApplyFlags): Unlisted {
  if (prune && keep)
    throw invalid(
      'keep',
      'is given beside `prune`: what is not listed is removed or left, not both',
    );
  if (prune) return 'prune';
  return keep ? 'keep' : 'refuse';
}

/** What applying a state needs. */
export interface ApplyEnvironment extends Pick<
  Environment,
  'store' | 'catalog' | 'defaults' | 'baseline'
> {
  /** How large a policy set may be. */
  readonly limits: PolicyLimits;
}

/** Applies the text of a state file for an actor: the operator or a superuser. @throws Refused */
export async function applyText(
  environment: ApplyEnvironment,
  tenant: string,
  actor: Actor,
  options: WriteOptions,
  text: string,
  how: { readonly unlisted: Unlisted; readonly signal?: AbortSignal | undefined },
): Promise<Done> {
  const { store, defaults, baseline } = environment;
  const catalog = environment.catalog();
  const { state, warnings } = readState(text, catalog, environment.limits);
  if (state.tenant !== tenant)
    throw invalid(
      'chunk',
      `the state is of tenant \`${state.tenant}\`, the request of \`${tenant}\``,
    );
  const name = actorName(actor);
  const key = options.idempotency_key === '' ? undefined : options.idempotency_key;
  try {
    const applied = await whileExpected(store, tenant, options.expected_revision, (reached) => {
      const who: Applier = { name, may: mayApply(tenant, actor, options, reached) };
      const given: ApplyOptions = { ...how, key, who, baseline };
      return options.dry_run
        ? planned(store, state, defaults, given)
        : applyState(store, state, defaults, name, given);
    });
    return {
      revision: applied.revision,
      consistency_token: applied.token,
      result: {
        dry_run: options.dry_run,
        repeated: applied.repeated,
        changes: applied.plan.summary,
        ...factsOfPlan(applied.plan, options.all_facts === true),
        revoked_grants: [],
        revoked_owners: [],
        warnings: [...warnings, ...applied.plan.warnings],
      },
      body: {
        removals: applied.plan.removals,
        needs_prune_or_keep: how.unlisted === 'refuse' && applied.plan.removals.length > 0,
      },
      differences: differencesOf(applied.plan),
    };
  } catch (error) {
    // Well formed, and refused: callers tell it from a text that cannot be read.
    if (error instanceof StateError) throw invalid('state', error.message);
    throw error;
  }
}

/** The facts that a plan changes, as a write's result tells them. */
export function factsOfPlan(
  { changes }: Pick<Plan, 'changes'>,
  all: boolean,
): ReturnType<typeof factsOf> {
  return factsOf(differencesOf({ changes }), all);
}

function differencesOf({ changes }: Pick<Plan, 'changes'>): Difference[] {
  return changes.map(({ kind, id, before, value }) => ({ kind, id, before, after: value }));
}

async function planned(
  store: Store,
  state: StateFile,
  defaults: readonly DefaultRole[],
  options: ApplyOptions,
): Promise<Applied> {
  const plan = await planState(store, state, defaults, options);
  const token = tokenOfPlan(state.tenant, plan);
  return { revision: plan.expected, token, plan, repeated: false };
}

/** Of the revision that a plan was made at. */
export function tokenOfPlan(tenant: string, { expected, nonce = '' }: Plan): string {
  return tokenOf(tenant, { revision: expected, nonce });
}

function readState(
  text: string,
  catalog: Catalog,
  limits: PolicyLimits,
): { readonly state: StateFile; readonly warnings: readonly string[] } {
  try {
    const source = parseSource('state', text);
    const state = parseState(source, catalog, limits);
    return { state, warnings: lintState(source, state, catalog).map(formatProblem) };
  } catch (error) {
    if (error instanceof ConfigError) throw invalid('chunk', error.message);
    throw error;
  }
}

/** A state can say anything: who applies one must be allowed everything (ADM-5). */
function mayApply(
  tenant: string,
  actor: Actor,
  options: WriteOptions,
  reached: number,
): Applier['may'] {
  return (records, head) => {
    const user = actor.user === undefined ? undefined : records.user.get(actor.user);
    const active = user !== undefined && !user.deleted && !user.suspended;
    if (actor.keyId !== undefined || (actor.user !== undefined && !(active && user.superuser)))
      throw denied(
        'ADM-5',
        `\`${actorName(actor)}\` may not apply a whole state`,
        'the operator or a superuser, without an API key',
      );
    const revision = head?.revision ?? 0;
    mustBeExpected(tenant, revision, options.expected_revision, reached);
  };
}

/** A state as the pieces of a file. */
export interface Exported {
  readonly revision: number;
  /** UTF-8, together the whole file. */
  readonly pieces: readonly Uint8Array<ArrayBuffer>[];
}

/**
 * The state as a file.
 * @param format `yaml` (also if empty) or `json`
 * @param maxBytes what `apply` reads at most, `admin.max_state_bytes`
 * @throws Refused where the file would be larger than `apply` reads
 */
export async function exportPieces(
  store: Store,
  tenant: string,
  format: string,
  maxBytes: number,
): Promise<Exported> {
  if (format !== '' && format !== 'yaml' && format !== 'json')
    throw invalid('format', `\`${format}\` is none of yaml, json`);
  const exported = await exportState(store, tenant);
  if (exported === undefined) throw notFound(`there is no tenant \`${tenant}\``);
  const { state, head } = exported;
  const pieces: Uint8Array<ArrayBuffer>[] = [];
  let bytes = 0;
  for (const text of stateText(state, format === 'json' ? 'json' : 'yaml')) {
    const piece = new TextEncoder().encode(text);
    bytes += piece.length;
    if (bytes > maxBytes)
      throw forbidden(
        '',
        `the state has more than ${maxBytes} bytes, which is all that apply reads: raise \`admin.max_state_bytes\`, or export and apply where the store is`,
      );
    pieces.push(piece);
  }
  return { revision: head.revision, pieces };
}
