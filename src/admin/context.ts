/** What a management rule is given, and what it tells besides its answer. */
import type { DefaultRole } from '../config/roles.ts';
import type { Catalog } from '../engine/action.ts';
import type { Authority } from './actor.ts';
import type { Baseline } from './baseline.ts';
import type { RevokedRow } from './justify.ts';
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
  readonly revoked: RevokedRow[];
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
