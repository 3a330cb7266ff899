/**
 * Receipts: that an operation with an idempotency key was done, written in the same commit as what it did. Whoever
 * does not know what became of a commit asks again with the same key (CONS-5).
 */
import { createHash } from 'node:crypto';
import type { ReceiptRecord } from '../engine/records.ts';
import { tokenOf } from '../store/format/token.ts';
import type { Change, Store } from '../store/store.ts';

/** How long a key is remembered at least, ms. */
const KEPT_MS = 24 * 60 * 60 * 1_000;
/** Old receipts that a new one takes away, so that they do not pile up. */
const SWEPT = 20;

/** A key that stands for one operation, and what that operation is. */
export interface Once {
  readonly key: string;
  /** Of the request: the same key for another request is a mistake. */
  readonly digest: string;
}

export class IdempotencyError extends Error {}

export function once(key: string, request: unknown): Once {
  return { key, digest: hash(JSON.stringify(request)) };
}

/**
 * The receipt of an earlier time, if the operation was done then.
 * @throws IdempotencyError where the key was used for something else
 */
export async function findReceipt(
  store: Store,
  tenant: string,
  { key, digest }: Once,
): Promise<ReceiptRecord | undefined> {
  const { values } = await store.get(tenant, [{ kind: 'receipt', id: hash(key) }]);
  // The store returns a record of the kind that was asked for.
  const receipt = values[0] as ReceiptRecord | undefined;
  if (receipt !== undefined && receipt.digest !== digest)
    throw new IdempotencyError(
      `the idempotency key \`${key}\` was used for something else at revision ${receipt.revision}: take a new key`,
    );
  return receipt;
}

/** The token of a commit that was done before; `''`: its entry is no longer in the feed. */
export async function receiptToken(
  store: Store,
  tenant: string,
  { id, revision }: ReceiptRecord,
): Promise<string> {
  const { entries } = await store.feed(tenant, revision - 1, 1);
  const [entry] = entries;
  // A fail-over between the two reads could have put another commit in its place, but not the receipt with it.
  const { values } = await store.get(tenant, [{ kind: 'receipt', id }]);
  const isThere = values[0] !== undefined && entry?.revision === revision;
  return isThere ? tokenOf(tenant, entry) : '';
}

/** The receipt of a commit at a revision, and the removal of some that are too old. */
export async function receiptChanges(
  store: Store,
  tenant: string,
  { key, digest }: Once,
  revision: number,
): Promise<readonly Change[]> {
  const now = Date.now();
  const receipt: ReceiptRecord = { id: hash(key), digest, revision, time: now };
  // Ids are hashes: those behind a new one are as good as any at random, so old ones are found as often as there are any.
  const { entries } = await store.scan(tenant, 'receipt', receipt.id, SWEPT);
  const old = entries.filter(([, value]) => isOlder(value, now - KEPT_MS));
  return [
    ...old.map(([id]): Change => ({ kind: 'receipt', id, value: undefined })),
    { kind: 'receipt', id: receipt.id, value: receipt },
  ];
}

function isOlder(value: object, than: number): boolean {
  return 'time' in value && typeof value.time === 'number' && value.time < than;
}

function hash(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
