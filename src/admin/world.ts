/**
 * A tenant's facts as a management rule sees them: a map that is read and written at once, as if all of it were in
 * memory. What is not here yet ends the attempt, is read from the store at the same revision, and the rule runs again:
 * so the rules stay plain functions over facts, without I/O.
 */
import { isDeepStrictEqual } from 'node:util';
import type { Kind, Records, RoleRecord, StateKind } from '../engine/records.ts';
import {
  StoreError,
  type Change,
  type FactKey,
  type FactValue,
  type Head,
  type Store,
} from '../store/store.ts';
import { Breath } from '../util/breath.ts';
import { isState } from './record-kinds.ts';
import { linksOf, relinked, withoutShared, type Link } from './links.ts';
import { Loaded, LostTrack, type Caught } from './loaded.ts';

export interface World {
  readonly tenant: string;
  /** Of the facts that are read here; `undefined`: the tenant does not exist. */
  readonly head: Head | undefined;
  get<K extends Kind>(kind: K, id: string): Records[K] | undefined;
  /**
   * All records of a kind: for the few, such as roles.
   * @param which only those; who asks so relies on nothing of them but that it is so
   */
  all<K extends Kind>(kind: K, which?: (record: Records[K]) => boolean): readonly Records[K][];
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

/** A world whose facts can also be waited for: by what is too much for a rule to ask for one by one. */
export interface Reading extends World {
  /** Reads what is not here yet, much at once. */
  need(keys: readonly FactKey[]): Promise<void>;
  needAll(kind: Kind): Promise<void>;
  /** Lets others have their turn where this has taken a while (ADM-11). */
  breathe(): Promise<void>;
  /** As `put`, for a record of which much follows. */
  putInTurns<K extends Kind>(kind: K, id: string, value: Records[K] | undefined): Promise<void>;
}

/** What a rule needs and the world does not have yet. */
class Missing extends Error {
  readonly what: readonly FactKey[] | Kind;

  constructor(what: readonly FactKey[] | Kind) {
    super('facts must be read first');
    this.what = what;
  }
}

/** Facts that the rule has looked at were changed by others: it must look again. */
class Changed extends Error {}

/** Runs of a rule, each with a fact more: one that never has enough is broken, and must not run for ever. */
const MAX_RUNS = 10_000;
/** Times that all facts were read anew, before we give up rather than spin. */
const MAX_RESTARTS = 50;

/** What a rule made of the facts of one revision. */
export interface Planned<T> {
  readonly head: Head | undefined;
  readonly result: T;
  readonly differences: readonly Difference[];
}

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
): Promise<Planned<T>> {
  return new Planner(store, tenant, first).plan(rule, (_world, result) => Promise.resolve(result));
}

/** Plans over facts that it keeps, to plan again where somebody else was faster. */
export class Planner {
  readonly #store: Store;
  readonly #tenant: string;
  readonly #first: readonly FactKey[];
  readonly #breath = new Breath();
  #loaded: Loaded | undefined;
  /** What the newest plan was made over. */
  #draft: Draft | undefined;

  constructor(store: Store, tenant: string, first: readonly FactKey[]) {
    this.#store = store;
    this.#tenant = tenant;
    this.#first = first;
  }

  /** Of the facts that are here. */
  get head(): Head | undefined {
    return this.#loaded?.head;
  }

  /** Lets others have their turn where the work on this operation has taken a while (ADM-11). */
  breathe(): Promise<void> {
    return this.#breath.take();
  }

  /** @param finish what follows from the rule, where it may be much; runs as often as the rule */
  async plan<A, T>(
    rule: (world: World) => A,
    finish: (world: Reading, ruled: A) => Promise<T>,
  ): Promise<Planned<T>> {
    for (let restart = 0; restart < MAX_RESTARTS; restart++) {
      try {
        const loaded = (this.#loaded ??= await Loaded.open(this.#store, this.#tenant, this.#first));
        return await this.#run(loaded, rule, finish);
      } catch (error) {
        if (!(error instanceof LostTrack)) throw error;
        this.#loaded = undefined;
      }
    }
    throw new StoreError(
      `tenant \`${this.#tenant}\` was changed ${MAX_RESTARTS} times while it was read: try again`,
    );
  }

  async #run<A, T>(
    loaded: Loaded,
    rule: (world: World) => A,
    finish: (world: Reading, ruled: A) => Promise<T>,
  ): Promise<Planned<T>> {
    for (let run = 1; run <= MAX_RUNS; run++) {
      const draft = new Draft(this.#tenant, loaded, this.#breath);
      this.#draft = draft;
      try {
        // A record may be large: reading one and ruling over it are two turns.
        await this.breathe();
        const ruled = rule(draft);
        await this.breathe();
        const result = await finish(draft, ruled);
        await this.breathe();
        const differences = await draft.differences();
        return { head: loaded.head, result, differences };
      } catch (error) {
        if (error instanceof Missing) {
          const { what } = error;
          const breathe = (): Promise<void> => this.breathe();
          await (typeof what === 'string'
            ? loaded.readKind(what, breathe)
            : loaded.read(what, breathe));
        } else if (!(error instanceof Changed)) throw error;
      }
    }
    throw new Error('a rule asks for facts without end');
  }

  /**
   * Brings the facts to the newest revision after a commit that came too late.
   * @returns whether what was planned still holds: nothing that the plan has looked at was changed (CONS-5)
   */
  async stillHolds(): Promise<boolean> {
    try {
      const caught = await this.#loaded?.catchUp();
      return caught !== undefined && this.#draft?.concerns(caught) === false;
    } catch (error) {
      if (!(error instanceof LostTrack)) throw error;
      this.#loaded = undefined;
      return false;
    }
  }
}

/** How often a link is to be added, or taken away where it is negative. */
interface Noted {
  readonly link: Link;
  readonly change: number;
}

type Which = (record: FactValue) => boolean;

class Draft implements Reading {
  readonly tenant: string;
  readonly #loaded: Loaded;
  readonly #written = new Map<Kind, Map<string, FactValue | undefined>>();
  readonly #breath: Breath;
  /** Stored records that were looked at, present or not. */
  readonly #used = new Map<Kind, Set<string>>();
  /** Kinds that were looked at whole, or for which of their records something is so. */
  readonly #usedAll = new Map<Kind, (Which | undefined)[]>();

  constructor(tenant: string, loaded: Loaded, breath: Breath) {
    this.tenant = tenant;
    this.#loaded = loaded;
    this.#breath = breath;
  }

  get head(): Head | undefined {
    return this.#loaded.head;
  }

  async need(keys: readonly FactKey[]): Promise<void> {
    if (this.head === undefined) return;
    const caught = await this.#loaded.read(keys, () => this.breathe());
    if (this.concerns(caught)) throw new Changed();
  }

  async needAll(kind: Kind): Promise<void> {
    if (this.head === undefined) return;
    const caught = await this.#loaded.readKind(kind, () => this.breathe());
    if (this.concerns(caught)) throw new Changed();
  }

  /** Whether what was looked at here is among what others have changed. */
  concerns(caught: readonly Caught[]): boolean {
    return caught.some(({ kind, id, before, after }) => {
      if (this.#used.get(kind)?.has(id) === true) return true;
      const is = (which: Which, record: FactValue | undefined): boolean =>
        record !== undefined && which(record);
      return this.#usedAll
        .get(kind)
        ?.some((which) => which === undefined || is(which, before) !== is(which, after));
    });
  }

  breathe(): Promise<void> {
    return this.#breath.take();
  }

  get<K extends Kind>(kind: K, id: string): Records[K] | undefined {
    if (kind === 'refs' || kind === 'name') this.#settle(kind, id);
    const written = this.#written.get(kind);
    // Whoever wrote it under this kind wrote a record of this kind.
    if (written?.has(id) === true) return written.get(id) as Records[K] | undefined;
    return this.#stored(kind, id);
  }

  #stored<K extends Kind>(kind: K, id: string): Records[K] | undefined {
    if (this.head === undefined) return undefined;
    if (!this.#loaded.knows({ kind, id })) throw new Missing([{ kind, id }]);
    const used = this.#used.get(kind);
    if (used === undefined) this.#used.set(kind, new Set([id]));
    else used.add(id);
    // The store returns a record of the kind that was asked for.
    return this.#loaded.get(kind, id) as Records[K] | undefined;
  }

  prefetch(keys: readonly FactKey[]): void {
    if (this.head === undefined) return;
    const missing = keys.filter((key) => !this.#loaded.knows(key));
    if (missing.length > 0) throw new Missing(missing);
  }

  all<K extends Kind>(kind: K, which?: (record: Records[K]) => boolean): readonly Records[K][] {
    const stored = this.#loaded.kind(kind);
    if (this.head !== undefined && stored === undefined) throw new Missing(kind);
    const asked = this.#usedAll.get(kind) ?? [];
    // It is asked of records of its own kind only.
    this.#usedAll.set(kind, [...asked, which as Which | undefined]);
    this.#settleAll();
    const merged = new Map<string, FactValue | undefined>(stored);
    for (const [id, value] of this.#written.get(kind) ?? []) merged.set(id, value);
    return [...merged.values()].filter(
      // Whoever wrote or stored it under this kind did so with a record of this kind.
      (record): record is Records[K] =>
        record !== undefined && which?.(record as Records[K]) !== false,
    );
  }

  put<K extends Kind>(kind: K, id: string, value: Records[K] | undefined): void {
    const before = this.get(kind, id);
    if (isState(kind)) {
      const steps = this.#relink(kind, before, value);
      while (steps.next().done !== true);
    }
    this.#write(kind, id, value);
  }

  async putInTurns<K extends Kind>(
    kind: K,
    id: string,
    value: Records[K] | undefined,
  ): Promise<void> {
    const before = this.get(kind, id);
    if (isState(kind)) {
      const steps = this.#relink(kind, before, value);
      while (steps.next().done !== true) await this.breathe();
    }
    this.#write(kind, id, value);
  }

  /** What follows from the record follows from its new value instead. In steps: it may be much. */
  *#relink<K extends StateKind>(
    kind: K,
    before: Records[K] | undefined,
    after: Records[K] | undefined,
  ): Generator<undefined> {
    const roleOf = (id: string): RoleRecord | undefined => this.get('role', id);
    const name = ({ id, field, item }: Link): string => `${field} ${id.length} ${id} ${item}`;
    const [was, is] = withoutShared(before, after);
    yield;
    const old = new Map(linksOf(kind, was, roleOf).map((link) => [name(link), link]));
    yield;
    const now = new Map(linksOf(kind, is, roleOf).map((link) => [name(link), link]));
    yield;
    const removed = [...old].filter(([key]) => !now.has(key)).map(([, link]) => link);
    const added = [...now].filter(([key]) => !old.has(key)).map(([, link]) => link);
    // At once: the rows of one principal may be of thousands of grantors.
    this.prefetch([...removed, ...added]);
    for (const link of removed) {
      this.#note(link, -1);
      yield;
    }
    for (const link of added) {
      this.#note(link, 1);
      yield;
    }
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

  async differences(): Promise<Difference[]> {
    for (const kind of ['refs', 'name'] as const)
      for (const id of this.#pending[kind].keys()) {
        this.#settle(kind, id);
        await this.breathe();
      }
    const differences: Difference[] = [];
    for (const [kind, records] of this.#written)
      for (const [id, after] of records) {
        const before = this.#stored(kind, id);
        if (!isDeepStrictEqual(before, after)) differences.push({ kind, id, before, after });
        await this.breathe();
      }
    return differences;
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
    all: (kind, which = () => true) => [...(of(kind)?.values() ?? [])].filter(which),
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
