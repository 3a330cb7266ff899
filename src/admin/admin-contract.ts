/** What AdminService asks of the admin room, and what the room says of what it did. */
import type { PolicyLimits } from '../config/policy-limits.ts';
import type { DefaultRole } from '../config/roles.ts';
import type { Catalog } from '../engine/action.ts';
import type { Kind } from '../engine/records.ts';
import type { Store } from '../store/store.ts';
import type { Actor } from './actor.ts';
import type { Mint } from './context.ts';
import type { Baseline } from './migrations/baseline.ts';
import type { ApplyFlags } from './state/apply-text.ts';
import type { Exported } from './state/export-state.ts';
import type { ThreadStore } from './threads/tasks.ts';
import type { Difference } from './world.ts';
import type { WriteOptions } from './write-result.ts';

export interface AdminOptions {
  readonly store: Store;
  readonly catalog: () => Catalog;
  readonly defaults: readonly DefaultRole[];
  /** Migrations that the defaults include; none if left out. */
  readonly baseline?: Baseline;
  readonly mint: Mint;
  /** How large a policy set may be. */
  readonly policyLimits?: PolicyLimits;
  /** Largest state that is exported or applied, `admin.max_state_bytes`. */
  readonly maxStateBytes?: number;
  /** The same store, for the threads that apply and export states; `undefined`: they are done here. */
  readonly threadStore?: ThreadStore | undefined;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  readonly record: (event: ManagementEvent) => void;
}

/** What became of an operation, for the log. */
export interface ManagementEvent {
  readonly tenant: string;
  readonly actor: Actor;
  readonly operation: string;
  /** The caller's correlation id; `''`: none. */
  readonly requestId: string;
  readonly revision: number;
  readonly dryRun: boolean;
  /** It was done before, under the same idempotency key. */
  readonly repeated: boolean;
  /** Why it was not done; `undefined`: it was. */
  readonly refused:
    { readonly kind: string; readonly rule: string; readonly message: string } | undefined;
  readonly differences: readonly Difference[];
  /** Differences that are not listed. */
  readonly moreDifferences?: number;
  /** Records that were removed with a tenant, by kind (ADM-9). */
  readonly removed?: ReadonlyMap<Kind, number>;
}

/** A request as it comes: the fields of its message, by their names in the contract. */
export interface AdminRequest {
  readonly tenant: string;
  readonly options?: (WriteOptions & { readonly request_id: string }) | null;
}

export interface AdminAnswer {
  readonly revision: number;
}

export interface ChangeView {
  readonly revision: number;
  readonly actor: string;
  readonly operation: string;
  readonly time: string;
  readonly records: readonly { readonly kind: Kind; readonly id: string }[];
  readonly too_many: boolean;
}

export interface Admin {
  /** Answers a call by its name. @throws Refused, IdempotencyError, StoreError */
  call(name: string, actor: Actor, request: AdminRequest): Promise<AdminAnswer>;
  /** Whether an actor may apply a state at all, before the state is here. @throws Refused */
  mayApply(actor: Actor, request: AdminRequest): Promise<void>;
  /**
   * Applies a state file.
   * @param read returns its bytes, UTF-8, in pieces that it lets go of, or throws where they are not whole (CONS-5)
   * @param signal aborted: the caller has gone, and nothing is committed any more
   */
  apply(
    actor: Actor,
    request: AdminRequest & ApplyFlags,
    read: () => readonly Uint8Array<ArrayBuffer>[],
    signal?: AbortSignal,
  ): Promise<AdminAnswer>;
  export(
    actor: Actor,
    request: { readonly tenant: string; readonly format: string },
  ): Promise<Exported>;
  /** Commits after a revision, as they come, until the signal. */
  watch(
    actor: Actor,
    request: { readonly tenant: string; readonly after: number },
    signal: AbortSignal,
  ): AsyncGenerator<{ readonly change: ChangeView; readonly gap: boolean }>;
}
