/** Result of Explain: the verdict of each layer with its facts, and what is missing. */
import type { Decision } from './decision.ts';
import type { Model } from './model.ts';

export type LayerName =
  | 'credential'
  | 'tenant'
  | 'action'
  | 'subject'
  | 'min_level'
  | 'abac_action'
  | Model
  | 'access'
  | 'abac_object';

/** `silent`: the layer has no result, or was not evaluated. */
export type LayerVerdict = 'allow' | 'deny' | 'silent';

export interface Fact {
  readonly kind:
    | 'permission'
    | 'superuser'
    | 'grant'
    | 'owner'
    | 'acl'
    | 'rule'
    | 'base_role'
    | 'set_skipped'
    | 'rule_skipped';
  readonly text: string;
  /** Unique name of the stored fact; absent: the fact cannot be counted as exercised. */
  readonly ref?: string;
  /** Membership chain from the subject to the group with the fact, both included. */
  readonly chain?: readonly string[];
}

export interface Layer {
  readonly name: LayerName;
  readonly verdict: LayerVerdict;
  readonly summary: string;
  readonly facts: readonly Fact[];
}

/** A fact that would have allowed a denied request. */
export interface Missing {
  readonly kind:
    | 'permission'
    | 'level'
    | 'membership'
    | 'grant'
    | 'acl'
    | 'attribute'
    | 'rule'
    | 'rule_removal'
    | 'mode'
    | 'active';
  readonly text: string;
}

export interface Explanation {
  readonly decision: Decision;
  /** In the order of COMB-1; layers after one that denied for every object are omitted. */
  readonly layers: readonly Layer[];
  readonly missing: readonly Missing[];
  /** False: not all candidates were tried, because time or budget ran out (ADM-11). */
  readonly missingComplete: boolean;
}

/** Largest number of facts that a layer lists; further facts are counted. */
const MAX_FACTS = 256;

/** The facts of a layer; the first ones are listed, the others counted. */
export class FactList {
  readonly #listed: Fact[] = [];
  #more = 0;
  #kind: Fact['kind'] = 'permission';

  /** Whether the next fact is listed; otherwise it is only counted. */
  takes(kind: Fact['kind']): boolean {
    if (this.#listed.length < MAX_FACTS) return true;
    this.#more++;
    this.#kind = kind;
    return false;
  }

  add(fact: Fact): void {
    this.#listed.push(fact);
  }

  all(): readonly Fact[] {
    if (this.#more === 0) return this.#listed;
    return [...this.#listed, { kind: this.#kind, text: `and ${this.#more} more` }];
  }
}

// ── names of stored facts ───────────────────────────────────────────────────────────────────────

export function ruleRef(set: string, rule: string): string {
  return `rule ${set}/${rule}`;
}

export function permissionRef(role: string, permission: string): string {
  return `permission ${permission} of role ${role}`;
}

/** @param holder `role:team` */
export function grantRef(holder: string, path: string): string {
  return `grant on '${path}' to ${holder}`;
}

export function ownerRef(path: string): string {
  return `owner of '${path}'`;
}
