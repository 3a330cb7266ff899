/**
 * A tenant's facts as far as they were read, all of one revision. Where others commit meanwhile, the feed says what
 * they changed: that is read again and the rest stays, so that a long plan need not begin anew for every commit.
 */
import type { Kind } from '../engine/records.ts';
import { StoreError, type FactKey, type FactValue, type Head, type Store } from '../store/store.ts';

/** A record that is here and was changed since. */
export interface Caught extends FactKey {
  readonly before: FactValue | undefined;
  readonly after: FactValue | undefined;
}

/** The feed does not lead from the facts that are here to the newest: they must be read anew. */
export class LostTrack extends Error {}

/** Records of one read. */
const READ_KEYS = 256;
const SCAN_PAGE = 1_000;
/** Entries of the feed that are followed at once. */
const FEED_PAGE = 1_000;
/** Looks for a moment without commits of others, before we give up rather than spin. */
const MAX_LOOKS = 200;

export class Loaded {
  readonly #store: Store;
  readonly #tenant: string;
  #head: Head | undefined;
  readonly #records = new Map<Kind, Map<string, FactValue | undefined>>();
  readonly #kinds = new Map<Kind, Map<string, FactValue>>();
  /** Kinds that are being read: as far as they are, they are kept up to date. */
  readonly #reading = new Map<Kind, Map<string, FactValue>>();

  private constructor(store: Store, tenant: string) {
    this.#store = store;
    this.#tenant = tenant;
  }

  /** @param first what will be needed @throws StoreError */
  static async open(store: Store, tenant: string, first: readonly FactKey[]): Promise<Loaded> {
    const loaded = new Loaded(store, tenant);
    const { head, values } = await store.get(tenant, first);
    loaded.#head = head;
    loaded.#remember(first, values);
    return loaded;
  }

  /** `undefined`: the tenant does not exist. */
  get head(): Head | undefined {
    return this.#head;
  }

  /** All records of a kind; `undefined`: it was not read whole. */
  kind(kind: Kind): ReadonlyMap<string, FactValue> | undefined {
    return this.#kinds.get(kind);
  }

  knows({ kind, id }: FactKey): boolean {
    return this.#kinds.has(kind) || this.#records.get(kind)?.has(id) === true;
  }

  get(kind: Kind, id: string): FactValue | undefined {
    return (this.#kinds.get(kind) ?? this.#records.get(kind))?.get(id);
  }

  /** Reads what is not here yet. @returns what others have changed meanwhile @throws LostTrack, StoreError */
  async read(keys: readonly FactKey[], breathe?: () => Promise<void>): Promise<readonly Caught[]> {
    const missing = [
      ...new Map(
        keys
          .filter((key) => !this.knows(key))
          .map((key) => [`${key.kind} ${key.id}`, key] as const),
      ).values(),
    ];
    const caught: Caught[] = [];
    let looks = 0;
    for (let at = 0; at < missing.length;) {
      const chunk = missing.slice(at, at + READ_KEYS);
      const { head, values } = await this.#store.get(this.#tenant, chunk);
      if (head?.nonce === this.#head?.nonce) {
        this.#remember(chunk, values);
        at += chunk.length;
      } else {
        if (++looks > MAX_LOOKS) throw this.#restless();
        caught.push(...(await this.catchUp()));
      }
      await breathe?.();
    }
    return caught;
  }

  /** Reads all records of a kind. @returns what others have changed meanwhile @throws LostTrack, StoreError */
  async readKind(kind: Kind, breathe?: () => Promise<void>): Promise<readonly Caught[]> {
    if (this.#kinds.has(kind)) return [];
    const found = new Map<string, FactValue>();
    this.#reading.set(kind, found);
    const caught: Caught[] = [];
    let looks = 0;
    for (let after: string | undefined; ;) {
      const page = await this.#store.scan(this.#tenant, kind, after, SCAN_PAGE);
      if (page.head?.nonce !== this.#head?.nonce) {
        // The page is of another revision: it is read again at the one that is now here.
        if (++looks > MAX_LOOKS) throw this.#restless();
        caught.push(...(await this.catchUp()));
        continue;
      }
      for (const [id, value] of page.entries) found.set(id, value);
      after = page.next;
      if (after === undefined) break;
      await breathe?.();
    }
    this.#reading.delete(kind);
    this.#kinds.set(kind, found);
    return caught;
  }

  /** Brings all that is here to the newest revision. @returns what has changed @throws LostTrack, StoreError */
  async catchUp(): Promise<readonly Caught[]> {
    for (let looks = 0; looks < MAX_LOOKS; looks++) {
      const changed = await this.#changedSince();
      if (changed.keys.length === 0) {
        this.#head = changed.head;
        return [];
      }
      const { head, values } = await this.#store.get(this.#tenant, changed.keys);
      // Somebody committed in between: what was read is of a revision that we know nothing about yet.
      if (head?.nonce !== changed.head.nonce) continue;
      this.#head = head;
      return this.#update(changed.keys, values);
    }
    throw this.#restless();
  }

  /** Keys that are here and were changed, and the head that this leads to. */
  async #changedSince(): Promise<{ readonly head: Head; readonly keys: readonly FactKey[] }> {
    if (this.#head === undefined) throw new LostTrack();
    let head = this.#head;
    const changed = new Map<string, FactKey>();
    for (;;) {
      const feed = await this.#store.feed(this.#tenant, head.revision, FEED_PAGE);
      for (const { revision, nonce, previous, keys } of feed.entries) {
        if (previous !== head.nonce || keys === undefined) throw new LostTrack();
        for (const key of keys)
          if (this.#isHere(key)) changed.set(JSON.stringify([key.kind, key.id]), key);
        head = { revision, nonce };
      }
      if (feed.head?.nonce === head.nonce) return { head, keys: [...changed.values()] };
      if (feed.entries.length === 0) throw new LostTrack();
    }
  }

  #isHere(key: FactKey): boolean {
    return this.knows(key) || this.#reading.has(key.kind);
  }

  #remember(keys: readonly FactKey[], values: readonly (FactValue | undefined)[]): void {
    for (const [index, { kind, id }] of keys.entries()) {
      const records = this.#records.get(kind) ?? new Map<string, FactValue | undefined>();
      this.#records.set(kind, records.set(id, values[index]));
    }
  }

  #update(keys: readonly FactKey[], values: readonly (FactValue | undefined)[]): readonly Caught[] {
    return keys.map(({ kind, id }, index) => {
      const before = this.get(kind, id);
      const after = values[index];
      for (const whole of [this.#kinds.get(kind), this.#reading.get(kind)]) {
        if (after === undefined) whole?.delete(id);
        else whole?.set(id, after);
      }
      const records = this.#records.get(kind);
      if (records?.has(id) === true) records.set(id, after);
      return { kind, id, before, after };
    });
  }

  #restless(): StoreError {
    return new StoreError(
      `tenant \`${this.#tenant}\` was changed ${MAX_LOOKS} times while it was read: try again`,
    );
  }
}
