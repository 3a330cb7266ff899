/** What a rule reads and has written so far, over the facts that are loaded. */
import { isDeepStrictEqual } from 'node:util';
import type { Kind, Records, RoleRecord, StateKind } from '../engine/records.ts';
import type { FactKey, FactValue, Head } from '../store/store.ts';
import type { Breath } from '../util/breath.ts';
import { linksOf, relinked, withoutShared, type Link } from './links.ts';
import type { Caught, Loaded } from './loaded.ts';
import { isState } from './record-kinds.ts';
import type { Difference, Reading } from './world.ts';

/** What a rule needs and the world does not have yet. */
export class Missing extends Error {
  readonly what: readonly FactKey[] | Kind;

  constructor(what: readonly FactKey[] | Kind) {
    super('facts must be read first');
    this.what = what;
  }
}

/** Facts that the rule has looked at were changed by others: it must look again. */
export class Changed extends Error {}

/** How often a link is to be added, or taken away where it is negative. */
interface Noted {
  readonly link: Link;
  readonly change: number;
}

type Which = (record: FactValue) => boolean;

export class Draft implements Reading {
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
    const earlier = this.#usedAll.get(kind) ?? [];
    // The predicate is called with records of its own kind only.
    this.#usedAll.set(kind, [...earlier, which as Which | undefined]);
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
