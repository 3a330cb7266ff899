/**
 * State files that were applied before, and nothing was changed since: they are not read, compiled and compared again.
 * What is applied every few minutes by a pipeline costs two reads then. Kept by this process alone, and lost with it.
 */
import { createHash } from 'node:crypto';
import type { Catalog } from '../../engine/action.ts';
import { tokenOf } from '../../store/format/token.ts';
import type { Head, Store } from '../../store/store.ts';
import { Breath } from '../../util/breath.ts';
import { onlyUsedSince } from '../expected.ts';
import type { Actor } from '../actor.ts';
import { NO_RESULT, type Done, type WriteOptions } from '../write-result.ts';
import type { Unlisted } from './plan-state.ts';

/** Tenants that are remembered. */
const MAX_TENANTS = 1_000;

/** A state as it is asked to be applied. */
interface Asked {
  readonly tenant: string;
  readonly actor: Actor;
  readonly options: WriteOptions;
  readonly pieces: readonly Uint8Array[];
  readonly unlisted: Unlisted;
  readonly catalog: Catalog;
}

interface Remembered {
  readonly digest: string;
  /** What the file was checked against: another one may find something else in it. */
  readonly catalog: Catalog;
  readonly unlisted: Unlisted;
  /** The revision that has the state, and the token of it: it names its history, too. */
  readonly revision: number;
  readonly token: string;
}

export class UnchangedStates {
  readonly #states = new Map<string, Remembered>();

  /**
   * @param apply reads, compares and commits the state
   * @returns what that returns; an answer without changes where it was applied before, and nothing but the use of keys
   *   was written since
   */
  async apply(store: Store, asked: Asked, apply: () => Promise<Done>): Promise<Done> {
    const { tenant, actor, options } = asked;
    // Of others more is asked than what the file says: a right, a revision, a receipt.
    const isPlain =
      actor.user === undefined &&
      actor.keyId === undefined &&
      options.idempotency_key === '' &&
      options.expected_revision === 0;
    if (!isPlain) return apply();
    const digest = await digestOf(asked.pieces);
    const known = this.#states.get(tenant);
    const isSame =
      known?.digest === digest &&
      known.catalog === asked.catalog &&
      known.unlisted === asked.unlisted;
    const head = isSame ? await headSince(store, tenant, known) : undefined;
    if (head !== undefined) {
      // Somebody may have been told that the first time is not known to last.
      await store.settle(tenant);
      return nothingDone(tenant, head, options);
    }
    const done = await apply();
    this.#remember(asked, digest, done);
    return done;
  }

  #remember({ tenant, options, catalog, unlisted }: Asked, digest: string, done: Done): void {
    const { revision, consistency_token: token, result } = done;
    this.#states.delete(tenant);
    // Warnings are told each time.
    if (options.dry_run || result.warnings.length > 0 || token === '') return;
    this.#states.set(tenant, { digest, catalog, unlisted, revision, token });
    const [oldest] = this.#states.keys();
    if (this.#states.size > MAX_TENANTS && oldest !== undefined) this.#states.delete(oldest);
  }
}

async function digestOf(pieces: readonly Uint8Array[]): Promise<string> {
  const hash = createHash('sha256');
  const breath = new Breath();
  for (const piece of pieces) {
    hash.update(piece);
    await breath.take();
  }
  return hash.digest('base64url');
}

/** The head of a tenant where it still has what was applied; `undefined`: it may have something else. */
async function headSince(
  store: Store,
  tenant: string,
  { revision, token }: Remembered,
): Promise<Head | undefined> {
  const { head } = await store.get(tenant, []);
  if (head === undefined || head.revision < revision) return undefined;
  // A fail-over may have put another commit in the place of ours.
  const { entries } = await store.feed(tenant, revision - 1, 1);
  const [entry] = entries;
  if (entry?.revision !== revision || tokenOf(tenant, entry) !== token) return undefined;
  const reached = await onlyUsedSince(store, tenant, revision);
  return reached >= head.revision ? head : undefined;
}

function nothingDone(tenant: string, head: Head, { dry_run: dryRun }: WriteOptions): Done {
  return {
    revision: head.revision,
    consistency_token: tokenOf(tenant, head),
    result: { ...NO_RESULT, dry_run: dryRun },
    body: { removals: [], needs_prune_or_keep: false, changes_left_out: 0, removals_left_out: 0 },
    differences: [],
  };
}
