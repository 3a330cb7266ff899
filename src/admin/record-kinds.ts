/** What each kind of record is to management. A new kind is an error of the compiler here until it has its row. */
import type { Kind, StateKind } from '../engine/records.ts';
import type { FactValue } from '../store/store.ts';

interface Traits {
  /** It is listed among the changes of an operation; else it follows from what is listed. */
  readonly isListed: boolean;
  /** The change log names it. */
  readonly isLogged: boolean;
}

const LISTED: Traits = { isListed: true, isLogged: true };
const UNLISTED: Traits = { isListed: false, isLogged: true };
const HIDDEN: Traits = { isListed: false, isLogged: false };

/** Kinds of the state, in the order in which changes of them are listed. */
const STATE: Readonly<Record<StateKind, Traits>> = {
  tenant: LISTED,
  user: LISTED,
  role: LISTED,
  workspace: LISTED,
  owner: LISTED,
  policy_set: LISTED,
  key: LISTED,
  tombstone: UNLISTED,
};

const OTHERS: Readonly<Record<Exclude<Kind, StateKind>, Traits>> = {
  refs: HIDDEN,
  name: HIDDEN,
  receipt: HIDDEN,
  policy_version: UNLISTED,
  usage: UNLISTED,
};

const ALL: Readonly<Record<Kind, Traits>> = { ...STATE, ...OTHERS };

// The keys of a table are those of its type.
export const STATE_KINDS = Object.keys(STATE) as readonly StateKind[];
export const ALL_KINDS = Object.keys(ALL) as readonly Kind[];

/** Whether a kind is of the state: what `export` writes and decisions look at. */
export function isState(kind: Kind): kind is StateKind {
  return Object.hasOwn(STATE, kind);
}

/** Whether a record is what people call a change, and does not follow from one. */
export function isListed({ kind }: { readonly kind: Kind }): boolean {
  return ALL[kind].isListed;
}

export function isLogged({ kind }: { readonly kind: Kind }): boolean {
  return ALL[kind].isLogged;
}

/** Whether nothing is stored, or the record of a user that was deleted (ACL-4). */
export function isGone(value: FactValue | undefined): value is undefined {
  return value === undefined || ('deleted' in value && value.deleted);
}
