/** The change log of a tenant: a page of it, or commits as they come. */
import type { Feed, Store } from '../../store/store.ts';
import { isOperator, type Actor } from '../actor.ts';
import type { AdminAnswer, AdminRequest, ChangeView } from '../admin-contract.ts';
import { mustReadAll } from '../read/reads.ts';
import { isLogged } from '../record-kinds.ts';
import { mustHaveBeen } from '../tenant/deleted.ts';
import { mustExist } from '../write.ts';
import { readWith, type Room } from './room.ts';

/** How often a stream's authority is looked at again, ms. */
const RECHECK_MS = 10_000;
/** How often a watched tenant is looked at without a hint, ms. */
const LOOK_MS = 500;

export async function listChanges(
  room: Room,
  actor: Actor,
  request: AdminRequest & { readonly after: number; readonly page_size: number },
): Promise<AdminAnswer> {
  const { tenant, after, page_size: pageSize } = request;
  await readWith(
    room,
    tenant,
    actor,
    ({ authority }) => mustReadAll(authority, 'list changes'),
    // What became of a tenant is for the operator to read, after it was deleted too (ADM-9).
    isOperator(actor) ? mustHaveBeen : mustExist,
  );
  const size = Math.min(pageSize === 0 ? 100 : pageSize, 1_000);
  const { head, entries } = await oldestAfter(room.store, tenant, after, size);
  const revision = head?.revision ?? 0;
  const complete = (entries.at(-1)?.revision ?? after) >= revision;
  // The fields of an answer are those of its message.
  return { revision, changes: entries.map(changeView), complete } as AdminAnswer;
}

/** Commits after a revision, as they come, until the signal. */
export async function* watchChanges(
  room: Room,
  actor: Actor,
  { tenant, after }: { readonly tenant: string; readonly after: number },
  signal: AbortSignal,
): AsyncGenerator<{ readonly change: ChangeView; readonly gap: boolean }> {
  const { store, now } = room;
  const mustBeAllowed = (): Promise<unknown> =>
    readWith(room, tenant, actor, ({ authority }) => mustReadAll(authority, 'watch changes'));
  await mustBeAllowed();
  const { head } = await store.get(tenant, []);
  let at = after === 0 ? (head?.revision ?? 0) : after;
  const alarm = new Alarm(store, tenant, signal);
  try {
    for (let checked = now(); !signal.aborted;) {
      // A stream must not outlive the authority that it was begun with.
      if (now() - checked > RECHECK_MS) {
        await mustBeAllowed();
        checked = now();
      }
      const { entries } = await oldestAfter(store, tenant, at, 100);
      for (const entry of entries) {
        yield { change: changeView(entry), gap: entry.revision > at + 1 };
        at = entry.revision;
      }
      if (entries.length === 0) await alarm.wait(LOOK_MS);
    }
  } finally {
    alarm.close();
  }
}

/** Wakes whoever waits for a change of one tenant. */
class Alarm {
  readonly #signal: AbortSignal;
  readonly #unwatch: () => void;
  #wake = (): void => {};
  readonly #onAbort = (): void => this.#wake();

  constructor(store: Store, tenant: string, signal: AbortSignal) {
    this.#signal = signal;
    this.#unwatch = store.watch((changed) => {
      if (changed === undefined || changed === tenant) this.#wake();
    });
    signal.addEventListener('abort', this.#onAbort);
  }

  /** Resolves after a change, an abort, or that long. */
  wait(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = (): void => {
        clearTimeout(timer);
        resolve();
      };
      if (this.#signal.aborted) this.#wake();
    });
  }

  close(): void {
    this.#unwatch();
    this.#signal.removeEventListener('abort', this.#onAbort);
  }
}

/** The oldest entries after a revision that are still kept. */
async function oldestAfter(
  store: Store,
  tenant: string,
  after: number,
  limit: number,
): Promise<Feed> {
  const first = await store.feed(tenant, after, limit);
  const newest = first.head?.revision ?? 0;
  if (first.entries.length > 0 || newest <= after) return first;
  // Entries are kept from some revision on: below it there are none.
  let [gone, kept] = [after, newest];
  while (kept - gone > 1) {
    const middle = Math.floor((gone + kept) / 2);
    const { entries } = await store.feed(tenant, middle, 1);
    if (entries.length > 0) kept = middle;
    else gone = middle;
  }
  return store.feed(tenant, kept, limit);
}

function changeView({ revision, event, time, keys }: Feed['entries'][number]): ChangeView {
  return {
    revision,
    actor: event.actor,
    operation: event.operation,
    time: new Date(time).toISOString(),
    records: (keys ?? []).filter(isLogged),
    too_many: keys === undefined,
  };
}
