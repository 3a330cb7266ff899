/** What applying a state would change: the facts that it says, compared with those that are stored. */
import { isDeepStrictEqual } from 'node:util';
import type { DefaultRole } from '../../config/roles.ts';
import type { Finding, StateFile } from '../../config/state.ts';
import type { Records, StateKind } from '../../engine/records.ts';
import { readAll, type Change, type FactValue, type Head, type Store } from '../../store/store.ts';
import { deriveAll } from '../links.ts';
import type { Baseline } from '../migrations/baseline.ts';
import { isGone, isListed, STATE_KINDS } from '../record-kinds.ts';
import { createdAgainBy, tombstonesAfter } from '../rules/tombstones.ts';
import { mustNotBeDeleted } from '../tenant/deleted.ts';
import { mustKeepAnOwner } from '../write.ts';
import { keepUnlisted } from './keep.ts';
import { keptRoles, newTenantRoles, withBaseline, withKept, withTombstones } from './kept-facts.ts';
import type { Plan, StateChange } from './plan.ts';
import { versionChanges, versionsOf } from './planned-versions.ts';
import { removalsOf } from './removals.ts';
import { toState } from './to-state.ts';
import { toFacts } from './to-facts.ts';
import type { BaseRole, IsStored, TenantFacts } from './tenant-facts.ts';
import { tooManyHeld } from '../tree/row-limits.ts';
import { unjustifiedRows } from './unjustified-rows.ts';

/** Kinds of records that follow from the state and are compared with it. */
const INDEXES = ['refs', 'name'] as const;

/** What becomes of what is stored and not listed: removed, left, or the state is refused where there is any (ADM-10). */
export type Unlisted = 'prune' | 'keep' | 'refuse';

/** Who applies a state: the operator where nobody is named. */
export interface Applier {
  readonly name: string;
  /** @throws Refused */
  readonly may: (records: TenantFacts, head: Head | undefined) => void;
}

export const OPERATOR_APPLIES: Applier = { name: 'operator', may: () => {} };

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
  /** Aborted: the caller has gone, and nothing is committed. */
  readonly signal?: AbortSignal | undefined;
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
  const { who = OPERATOR_APPLIES, unlisted = 'prune' } = options;
  const { tenant } = listed;
  const { head, records } = await readAll(store, tenant, [...STATE_KINDS, ...INDEXES]);
  who.may(records, head);
  mustNotBeDeleted(records.tenant.get(''));
  const facts =
    head === undefined
      ? newFacts(listed, records, defaults, options.baseline)
      : nextFacts(listed, records, unlisted);
  const versions = await versionsOf(store, tenant, records, facts);
  const changes = STATE_KINDS.flatMap((kind) => diff(kind, records[kind], facts[kind], versions));
  mustFit(changes);
  const indexes = deriveAll(facts);
  const removals = head === undefined ? [] : removalsOf(changes, listed);
  // Else it is refused for what it removes, with a list of all of that (ADM-10).
  if (unlisted !== 'refuse' || removals.length === 0)
    mustKeepAnOwner(
      [...records.refs].map(([id, before]) => ({
        kind: 'refs',
        id,
        before,
        after: indexes.refs.get(id),
      })),
    );
  return {
    head,
    changes,
    derived: [
      ...INDEXES.flatMap((kind) => indexChanges(kind, records[kind], indexes[kind])),
      ...versionChanges(changes, who.name),
    ],
    summary: changes.filter(isListed).map(({ kind, id, value }) => ({
      change: !records[kind].has(id) ? 'create' : isGone(value) ? 'delete' : 'update',
      kind,
      id,
    })),
    warnings: createdAgainBy(records, facts),
    removals,
  };
}

/** @throws StateError where a principal would come to hold too many grants */
function mustFit(changes: readonly StateChange[]): void {
  const rows = (record: FactValue | undefined): number =>
    // Records with this field have rows there.
    record !== undefined && 'grants' in record ? (record.grants as readonly unknown[]).length : 0;
  const findings = changes.flatMap(({ kind, id, before, value }): Finding[] => {
    const problem = tooManyHeld(`${kind}:${id}`, rows(before), rows(value));
    return problem === undefined ? [] : [{ path: ['grants'], message: problem }];
  });
  if (findings.length > 0) throw new StateError(findings);
}

/** Facts of a tenant that does not exist yet. @throws StateError */
function newFacts(
  listed: StateFile,
  stored: TenantFacts,
  defaults: readonly DefaultRole[],
  baseline: Baseline = [],
): TenantFacts {
  const state = withTombstones(listed, stored);
  const facts = factsOfState(state, newTenantRoles(state, defaults), () => false);
  return justified(state, stored, withBaseline(facts, state, baseline));
}

/** Facts that a tenant has next. @throws StateError */
function nextFacts(listed: StateFile, stored: TenantFacts, unlisted: Unlisted): TenantFacts {
  const state =
    unlisted === 'keep'
      ? keepUnlisted(listed, toState(listed.tenant, stored))
      : withTombstones(listed, stored);
  const facts = factsOfState(
    state,
    keptRoles(stored),
    (kind, id) => kind === 'tenant' || isKnown(stored, kind, id),
  );
  return justified(state, stored, withKept(facts, stored));
}

function factsOfState(
  state: StateFile,
  base: readonly BaseRole[],
  isStored: IsStored,
): TenantFacts {
  const built = toFacts(state, base, isStored);
  if ('findings' in built) throw new StateError(built.findings);
  return built.facts;
}

/** With tombstones of the groups that go, where every grantor may give what it gives (ADM-2). */
function justified(state: StateFile, stored: TenantFacts, named: TenantFacts): TenantFacts {
  const facts = { ...named, tombstone: tombstonesAfter(stored, named) };
  const findings = unjustifiedRows(facts, state);
  if (findings.length > 0) throw new StateError(findings);
  return facts;
}

function indexChanges<K extends 'refs' | 'name'>(
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
