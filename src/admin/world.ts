/**
 * A tenant's facts as a management rule sees them: a map that is read and written at once, as if all of it were in
 * memory. What is not here yet ends the attempt, is read from the store at the same revision, and the rule runs again:
 * so the rules stay plain functions over facts, without I/O.
 */
import { isDeepStrictEqual } from 'node:util';
import type { Kind, Records, RoleRecord, StateKind } from '../engine/records.ts';
import {
  readAll,
  StoreError,
  type Change,
  type FactKey,
  type FactValue,
  type Head,
  type Store,
} from '../store/store.ts';
import { linksOf, relinked, type Link } from './links.ts';

export interface World {
  readonly tenant: string;
  /** Of the facts that are read here; `undefined`: the tenant does not exist. */
  readonly head: Head | undefined;
  get<K extends Kind>(kind: K, id: string): Records[K] | undefined;
  /** All records of a kind: for the few, such as roles. */
  all<K extends Kind>(kind: K): readonly Records[K][];
  /** Tells what will be read, so that it comes in one round trip. */
  prefetch(keys: readonly FactKey[]): void;
  /** Writes a record with all that follows from it; `undefined` deletes it. */
  put<K extends Kind>(kind: K, id: string, value: Records[K] | undefined): void;
}

/** A record before and after, where they differ. */
export interface Difference {
  readonly kind: Kind;
  readonly id: string;
  readonly before: FactValue | undefined;
  readonly after: FactValue | undefined;
}

/** What a rule needs and the world does not have yet. */
class Missing extends Error {
  readonly what: readonly FactKey[] | Kind;

  constructor(what: readonly FactKey[] | Kind) {
    super('facts must be read first');
    this.what = what;
  }
}

/** Records as read, at one revision. */
interface Loaded {
  head: Head | undefined;
  readonly kinds: Map<Kind, ReadonlyMap<string, FactValue>>;
  readonly records: Map<Kind, Map<string, FactValue | undefined>>;
}

/** Runs of a rule, each with a fact more: one that never has enough is broken, and must not run for ever. */
const MAX_RUNS = 10_000;
/** Reads at one revision that others' commits spoiled, before we give up rather than spin. */
const MAX_RESTARTS = 50;

/**
 * Runs a rule over a tenant's facts, all of one revision. The rule may run several times: only its last run counts.
 * @param first read at once, because the rule will need them
 * @throws whatever the rule throws, and StoreError
 */
export async function overWorld<T>(
  store: Store,
  tenant: string,
  first: readonly FactKey[],
  rule: (world: World) => T,
): Promise<{
  readonly head: Head | undefined;
  readonly result: T;
  readonly differences: Difference[];
}> {
  for (let restart = 0; restart < MAX_RESTARTS; restart++) {
    const snapshot = await store.get(tenant, first);
    const loaded: Loaded = { head: snapshot.head, kinds: new Map(), records: new Map() };
    for (const [index, { kind, id }] of first.entries())
      remember(loaded, kind, id, snapshot.values[index]);
    for (let run = 1; ; run++) {
      const draft = new Draft(tenant, loaded);
      try {
        const result = rule(draft);
        return { head: loaded.head, result, differences: draft.differences() };
      } catch (error) {
        if (!(error instanceof Missing)) throw error;
        if (run === MAX_RUNS)
          throw new Error('a rule asks for facts without end', { cause: error });
        if (!(await load(store, tenant, loaded, error.what))) break;
      }
    }
  }
  throw new StoreError(
    `tenant \`${tenant}\` was changed ${MAX_RESTARTS} times while it was read: try again`,
  );
}

/** Whether the facts could be read at the revision of those that are here. */
async function load(
  store: Store,
  tenant: string,
  loaded: Loaded,
  what: readonly FactKey[] | Kind,
): Promise<boolean> {
  if (typeof what === 'string') {
    const { head, records } = await readAll(store, tenant, [what]);
    loaded.kinds.set(what, records[what]);
    return head?.nonce === loaded.head?.nonce;
  }
  const { head, values } = await store.get(tenant, what);
  for (const [index, { kind, id }] of what.entries()) remember(loaded, kind, id, values[index]);
  return head?.nonce === loaded.head?.nonce;
}

function remember({ records }: Loaded, kind: Kind, id: string, value: FactValue | undefined): void {
  const known = records.get(kind) ?? new Map<string, FactValue | undefined>();
  records.set(kind, known.set(id, value));
}

/** How often a link is to be added, or taken away where it is negative. */
interface Noted {
  readonly link: Link;
  readonly change: number;
}

class Draft implements World {
  readonly tenant: string;
  readonly head: Head | undefined;
  readonly #loaded: Loaded;
  readonly #written = new Map<Kind, Map<string, FactValue | undefined>>();

  constructor(tenant: string, loaded: Loaded) {
    this.tenant = tenant;
    this.head = loaded.head;
    this.#loaded = loaded;
  }

  get<K extends Kind>(kind: K, id: string): Records[K] | undefined {
    if (kind === 'refs' || kind === 'name') this.#settle(kind, id);
    const written = this.#written.get(kind);
    // Whoever wrote it under this kind wrote a record of this kind.
    if (written?.has(id) === true) return written.get(id) as Records[K] | undefined;
    return this.#stored(kind, id);
  }

  #stored<K extends Kind>(kind: K, id: string): Records[K] | undefined {
    const { head, kinds, records } = this.#loaded;
    if (head === undefined) return undefined;
    const all = kinds.get(kind);
    if (all !== undefined) return all.get(id) as Records[K] | undefined;
    const known = records.get(kind);
    if (known?.has(id) !== true) throw new Missing([{ kind, id }]);
    return known.get(id) as Records[K] | undefined;
  }

  prefetch(keys: readonly FactKey[]): void {
    const { head, kinds, records } = this.#loaded;
    if (head === undefined) return;
    const missing = keys.filter(
      ({ kind, id }) => !kinds.has(kind) && records.get(kind)?.has(id) !== true,
    );
    if (missing.length > 0) throw new Missing(missing);
  }

  all<K extends Kind>(kind: K): readonly Records[K][] {
    const { head, kinds } = this.#loaded;
    const stored = kinds.get(kind);
    if (head !== undefined && stored === undefined) throw new Missing(kind);
    this.#settleAll();
    const merged = new Map<string, FactValue | undefined>(stored);
    for (const [id, value] of this.#written.get(kind) ?? []) merged.set(id, value);
    return [...merged.values()].filter((record): record is Records[K] => record !== undefined);
  }

  put<K extends Kind>(kind: K, id: string, value: Records[K] | undefined): void {
    const before = this.get(kind, id);
    if (isState(kind)) this.#relink(kind, before, value);
    this.#write(kind, id, value);
  }

  /** What follows from the record follows from its new value instead. */
  #relink<K extends StateKind>(
    kind: K,
    before: Records[K] | undefined,
    after: Records[K] | undefined,
  ): void {
    const roleOf = (id: string): RoleRecord | undefined => this.get('role', id);
    const name = (link: Link): string => JSON.stringify(link);
    const old = new Map(linksOf(kind, before, roleOf).map((link) => [name(link), link]));
    const now = new Map(linksOf(kind, after, roleOf).map((link) => [name(link), link]));
    const removed = [...old].filter(([key]) => !now.has(key)).map(([, link]) => link);
    const added = [...now].filter(([key]) => !old.has(key)).map(([, link]) => link);
    for (const link of removed) this.#note(link, -1);
    for (const link of added) this.#note(link, 1);
  }

  /** Long lists are not written anew for each of their items: what changes on them waits until they are looked at. */
  readonly #pending = {
    refs: new Map<string, Map<string, Noted>>(),
    name: new Map<string, Map<string, Noted>>(),
  };

  #note(link: Link, change: 1 | -1): void {
    // Nobody plans on a record that is not here.
    this.#stored(link.kind, link.id);
    const waiting = this.#pending[link.kind];
    const notes = waiting.get(link.id) ?? new Map<string, Noted>();
    waiting.set(link.id, notes);
    const name = `${link.field} ${link.item}`;
    const noted = notes.get(name) ?? { link, change: 0 };
    notes.set(name, { link, change: noted.change + change });
  }

  #settle(kind: Link['kind'], id: string): void {
    const notes = this.#pending[kind].get(id);
    if (notes === undefined) return;
    this.#pending[kind].delete(id);
    const times = (sign: 1 | -1): Link[] =>
      [...notes.values()].flatMap(({ link, change }) =>
        Array.from({ length: Math.max(0, change * sign) }, () => link),
      );
    this.#write(kind, id, relinked(kind, id, this.get(kind, id), times(-1), times(1)));
  }

  #write(kind: Kind, id: string, value: FactValue | undefined): void {
    const written = this.#written.get(kind) ?? new Map<string, FactValue | undefined>();
    this.#written.set(kind, written.set(id, value));
  }

  #settleAll(): void {
    for (const kind of ['refs', 'name'] as const)
      for (const id of this.#pending[kind].keys()) this.#settle(kind, id);
  }

  differences(): Difference[] {
    this.#settleAll();
    return [...this.#written].flatMap(([kind, records]) =>
      [...records].flatMap(([id, after]): Difference[] => {
        const before = this.#stored(kind, id);
        return isDeepStrictEqual(before, after) ? [] : [{ kind, id, before, after }];
      }),
    );
  }
}

/** Facts that are all in memory, for rules that only look. */
export function factsWorld(
  tenant: string,
  facts: { readonly [K in StateKind]: ReadonlyMap<string, Records[K]> },
): World {
  const of = <K extends Kind>(kind: K): ReadonlyMap<string, Records[K]> | undefined =>
    // The maps are by kind; derived kinds have none here.
    isState(kind) ? facts[kind] : undefined;
  return {
    tenant,
    head: undefined,
    get: (kind, id) => of(kind)?.get(id),
    all: (kind) => [...(of(kind)?.values() ?? [])],
    prefetch: () => {},
    put: () => {
      throw new Error('these facts are not to be changed');
    },
  };
}

/** The differences as a commit takes them. */
export function changesOf(differences: readonly Difference[]): Change[] {
  return differences.map(({ kind, id, after }) => ({ kind, id, value: after }));
}

/** Whether a kind is of the state: what `export` writes and decisions look at. */
export function isState(kind: Kind): kind is StateKind {
  return (
    kind === 'tenant' ||
    kind === 'user' ||
    kind === 'role' ||
    kind === 'workspace' ||
    kind === 'owner' ||
    kind === 'policy_set' ||
    kind === 'key' ||
    kind === 'tombstone'
  );
}
