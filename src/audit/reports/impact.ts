/**
 * What a policy set under trial would change, by the shadow outcomes of recorded decisions (ABAC-8). A shadow outcome is
 * of all sets and keys together; what is said here is of one set. That one is proven to change nothing where
 *
 * - both outcomes allow: then no deny of any set applies;
 * - both deny, and not by the base role alone: a deny rule in force, or missing evidence, stays what it is;
 * - both deny, and the set's own rule decides the shadow outcome, or the base role: then nothing of it allows.
 *
 * Else the rule that decides the shadow outcome is the one that makes the difference. Where it is another set's, this
 * set may say the same, or not: that is not known, and reported as unknown. Pure.
 */
import type { Mode } from '../../engine/model.ts';
import type { KeyRecord } from '../../engine/records.ts';
import type { DecisionRecord } from '../record/reader.ts';

/** How a key carries the set: whether the key has no other set that is on trial, by the key's mode. */
export interface Carrier {
  readonly alone: { readonly enforce: boolean; readonly report_only: boolean };
}

/** The set that is looked at. */
export interface OnTrial {
  readonly set: string;
  /** The set is `report_only` now: with an enforced key, its Filters then have a shadow outcome too. */
  readonly onTrial: boolean;
}

/** Keys that are on trial with a set: neither of the two is `off`, nor both in force. @param modes of all sets by name */
export function carriersOf(
  set: string,
  keys: Iterable<Pick<KeyRecord, 'id' | 'mode' | 'policySets'>>,
  modes: ReadonlyMap<string, Mode>,
): ReadonlyMap<string, Carrier> {
  const carriers = new Map<string, Carrier>();
  for (const { id, mode, policySets } of keys) {
    const modeOfSet = modes.get(set);
    if (!policySets.includes(set) || mode === 'off' || modeOfSet === 'off') continue;
    if (mode === 'enforce' && modeOfSet === 'enforce') continue;
    const others = policySets.filter((name) => name !== set).map((name) => modes.get(name));
    const alone = {
      enforce: !others.includes('report_only'),
      report_only: others.every((other) => other === 'off'),
    };
    carriers.set(id, { alone });
  }
  return carriers;
}

export type Direction = 'newly_denied' | 'newly_allowed';

/** Why it is not known whether the set changes a decision: the other set that decided; `''`: the record does not say. */
export interface Unknown {
  readonly other_set: string;
}

export interface Effect {
  readonly change: Direction;
  readonly rule: string;
  readonly objects: number;
}

/** What enforcing the set would change of a decision. `undefined`: the set had no part in it. */
export function impactOf(
  record: DecisionRecord,
  { set, onTrial }: OnTrial,
  { alone }: Carrier,
): readonly Effect[] | Unknown | undefined {
  const { mode, objects } = record;
  const isAlone = (mode === 'enforce' || mode === 'report_only') && alone[mode];
  return objects === undefined
    ? checkImpact(record, set, isAlone)
    : filterImpact(record, objects, onTrial, isAlone);
}

function checkImpact(
  { allowed, reason, shadow, shadow_policy, policy = [] }: DecisionRecord,
  set: string,
  isAlone: boolean,
): readonly Effect[] | Unknown | undefined {
  if (shadow === undefined) return undefined;
  const rule = shadow_policy?.at(-1) ?? '';
  const change = allowed ? 'newly_denied' : 'newly_allowed';
  const impact = shadow.allowed === allowed ? [] : [{ change, rule, objects: 0 } as const];
  if (isAlone || rule.startsWith(`${set}/`)) return impact;
  const byBaseRole = reason !== 'NO_GRANT' && setOf(policy.at(-1)) === '';
  const proven = impact.length === 0 && (allowed || !byBaseRole || isBaseRole(rule));
  return proven ? impact : { other_set: setOf(rule) };
}

/** The record of a Filter counts its objects, and does not say which set hides or shows them. */
function filterImpact(
  { mode, reason }: DecisionRecord,
  objects: NonNullable<DecisionRecord['objects']>,
  onTrial: boolean,
  isAlone: boolean,
): readonly Effect[] | Unknown | undefined {
  const { shadow_hidden: hidden, shadow_shown: shown, visible, total } = objects;
  // Refused before any policy is asked.
  if (reason !== 'ALLOWED' && reason !== 'ACTION_DENIED') return undefined;
  if (hidden === undefined || shown === undefined) return { other_set: '' };
  const hasShadow = mode === 'report_only' || (mode === 'enforce' && onTrial);
  if (!hasShadow && hidden + shown === 0) return undefined;
  // What another set hides, this one may show.
  if (!isAlone && (hidden + shown > 0 || visible !== total)) return { other_set: '' };
  return [
    { change: 'newly_denied', rule: '', objects: hidden } as const,
    { change: 'newly_allowed', rule: '', objects: shown } as const,
  ].filter((effect) => effect.objects > 0);
}

/** `''`: a base role, or not known. */
function setOf(rule = ''): string {
  return rule.slice(0, Math.max(0, rule.lastIndexOf('/')));
}

function isBaseRole(rule: string): boolean {
  return rule !== '' && setOf(rule) === '';
}
