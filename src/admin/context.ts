/** What a management rule is given, and what it tells besides its answer. */
import type { DefaultRole } from '../config/roles.ts';
import type { Catalog } from '../engine/action.ts';
import type { Authority } from './actor.ts';
import type { Baseline } from './migrations/baseline.ts';
import type { Follows } from './tree/follow.ts';
import type { World } from './world.ts';

export interface Context {
  readonly world: World;
  readonly authority: Authority;
  readonly catalog: Catalog;
  readonly defaults: readonly DefaultRole[];
  /** What the default roles include. */
  readonly baseline: Baseline;
  /** Milliseconds since the epoch. */
  readonly now: number;
  readonly mint: Mint;
  /** What the actor should know. */
  readonly warnings: string[];
  /** What is to be done after the rule: what falls with what it took away (ADM-3). */
  readonly follows: Follows;
}

/** Makes secrets; the records keep their hashes. */
export interface Mint {
  key(tenant: string, keyId: string): { readonly token: string; readonly hash: string };
  session(
    tenant: string,
    user: string,
    sessionId: string,
  ): { readonly token: string; readonly hash: string };
  id(prefix: string): string;
}
