/** What Explain tells: each layer's verdict with the facts that gave it, and what was missing. */
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

/** `silent`: the layer has nothing to say, or was not asked. */
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
  /** The stored fact itself, by a name that no other has; absent: it is none that could be exercised. */
  readonly ref?: string;
  /** From the subject to the group that holds the fact, both included. */
  readonly chain?: readonly string[];
}

export interface Layer {
  readonly name: LayerName;
  readonly verdict: LayerVerdict;
  readonly summary: string;
  readonly facts: readonly Fact[];
}

/** What would have allowed a request that is denied. */
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
  /** In the order of COMB-1; the layers after the one that refused the request as such are left out. */
  readonly layers: readonly Layer[];
  readonly missing: readonly Missing[];
  /** False: time or the budget of work was over before all candidates were tried (ADM-11). */
  readonly missingComplete: boolean;
}

/** Facts that one layer lists; how many more there are is told in their place. */
const MAX_FACTS = 256;

/** The facts of a layer, the first of them listed. */
export class FactList {
  readonly #listed: Fact[] = [];
  #more = 0;
  #kind: Fact['kind'] = 'permission';

  /** Whether a fact that was found is to be listed; one that is not is counted. */
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
