/**
 * THE optimistic loop of management: plan a change over the facts of one revision, commit it if that revision is still
 * the newest, else plan again. Operations and whole states pass it alike (CONS-5).
 */
import {
  StoreError,
  UnknownOutcomeError,
  type Change,
  type CommitEvent,
  type CommitResult,
  type Head,
  type Store,
} from '../store/store.ts';
import { attempts } from '../util/attempts.ts';
import { findReceipt, receiptChanges, receiptToken, type Once } from './receipt.ts';
import type { Difference } from './world.ts';

/** How often a change is planned again because somebody else committed meanwhile. */
const MAX_ATTEMPTS = 100;

/** A planned change. */
export interface Draft {
  /** Of the facts that it was planned over; `undefined`: there is no such tenant. */
  readonly head: Head | undefined;
  readonly changes: readonly Change[];
}

export interface CommitTask<D extends Draft> {
  readonly tenant: string;
  readonly event: CommitEvent;
  /** `undefined`: without an idempotency key. */
  readonly once: Once | undefined;
  /** Plan only. */
  readonly dryRun: boolean;
  /** @throws what keeps the change from being done */
  plan(): Promise<D>;
  /**
   * Called after a commit that came too late.
   * @returns the draft at the newest revision, where it still holds there; `undefined`: plan again
   */
  rebased?(draft: D): Promise<D | undefined>;
  /** Whether an error of the plan may only mean that the change was done before, under the same key. */
  mayBeRepeated(error: unknown): boolean;
  /** The caller may have gone. @throws what keeps the change from being committed */
  beforeCommit?(): Promise<void>;
  /** What the log records of a draft whose outcome is not known. */
  differences(draft: D): readonly Difference[];
}

export type Committed<D extends Draft> =
  /** `head` is that of the draft where nothing was to be committed. */
  | { readonly repeated: false; readonly draft: D; readonly head: Head | undefined }
  /** It was done before, under the same idempotency key: the revision of that time and its token, `''` if unknown. */
  | { readonly repeated: true; readonly revision: number; readonly token: string };

/**
 * Commits what is planned, once.
 * @throws what the plan throws; IdempotencyError; UnknownWriteError: then again with the same key; StoreError
 */
export async function commitOnce<D extends Draft>(
  store: Store,
  task: CommitTask<D>,
): Promise<Committed<D>> {
  /** The draft of the latest attempt, whose commit came too late. */
  let late: D | undefined;
  const committed = await attempts(MAX_ATTEMPTS, async (): Promise<Committed<D> | undefined> => {
    let draft: D;
    try {
      draft = (late && (await task.rebased?.(late))) ?? (await task.plan());
    } catch (error) {
      // What was done once can often not be done again: the user exists by now, the row is gone.
      const first = task.mayBeRepeated(error) ? await firstTime(store, task) : undefined;
      if (first === undefined) throw error;
      return first;
    }
    // After the plan: what is done between the two makes the commit fail.
    const first = await firstTime(store, task);
    if (first !== undefined) return first;
    const { head } = draft;
    if (task.dryRun) return { repeated: false, draft, head };
    if (draft.changes.length === 0 && task.once === undefined) {
      // An earlier caller may have been answered that the commit is not known to last.
      if (head !== undefined) await store.settle(task.tenant);
      return { repeated: false, draft, head };
    }
    await task.beforeCommit?.();
    const result = await commitDraft(store, task, draft);
    if (result.committed) return { repeated: false, draft, head: result.head };
    late = draft;
    return undefined;
  });
  if (committed !== undefined) return committed;
  throw new StoreError(
    `tenant \`${task.tenant}\` was changed by others ${MAX_ATTEMPTS} times while \`${task.event.operation}\` was planned: try again`,
  );
}

/** The first time of a change that was done before; `undefined`: it was not, or has no key. */
async function firstTime(
  store: Store,
  { tenant, once }: Pick<CommitTask<Draft>, 'tenant' | 'once'>,
): Promise<Extract<Committed<Draft>, { readonly repeated: true }> | undefined> {
  const receipt = once && (await findReceipt(store, tenant, once));
  if (receipt === undefined) return undefined;
  await store.settle(tenant);
  const token = await receiptToken(store, tenant, receipt);
  return { repeated: true, revision: receipt.revision, token };
}

async function commitDraft<D extends Draft>(
  store: Store,
  task: CommitTask<D>,
  draft: D,
): Promise<CommitResult> {
  const { tenant, once, event } = task;
  const { head, changes } = draft;
  const expected = head?.revision ?? 0;
  const receipts =
    once === undefined ? [] : await receiptChanges(store, tenant, once, expected + 1);
  try {
    return await store.commit({
      tenant,
      expected,
      nonce: head?.nonce,
      changes: [...changes, ...receipts],
      event,
    });
  } catch (error) {
    throw error instanceof UnknownOutcomeError
      ? new UnknownWriteError(error, expected + 1, task.differences(draft))
      : error;
  }
}

/** A write that may have been done: what it would have changed, and the revision that it would have made. */
export class UnknownWriteError extends UnknownOutcomeError {
  readonly revision: number;
  readonly differences: readonly Difference[];

  constructor(error: UnknownOutcomeError, revision: number, differences: readonly Difference[]) {
    super('', error.what);
    this.message = error.message;
    this.revision = revision;
    this.differences = differences;
  }
}
