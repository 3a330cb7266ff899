/**
 * Large commits: one script would hold Redis up for as long as it runs. So the kinds of which many records change are
 * prepared beside those that are in force, step by step between the commands of others, and one short script puts them
 * in their place (CONS-5). Whoever reads meanwhile sees nothing of it. A stage that is abandoned expires.
 */
import type { Kind } from '../../engine/records.ts';
import {
  NoRightError,
  StoreError,
  UnknownOutcomeError,
  type Change,
  type Commit,
} from '../store.ts';
import type { Client } from './client.ts';
import { KINDS, type Keys } from './keys.ts';
import { STAGE, STAGE_COPY, STAGE_PUT, type Script } from './scripts.ts';
import { changeText } from './record-text.ts';
import { countdown, resendUntilKnown } from './resend.ts';
import type { Argument } from './script-call.ts';

/** A commit of more changes is prepared. */
const MAX_AT_ONCE = 1_000;
/** Of a kind of which fewer records change, they are written with the last script. */
const MIN_OF_KIND = 500;
/** A kind is not copied for less than one change in so many records: the copy would take longer than it spares. */
const MAX_COPIED = 100;
/** Records that one script copies or changes, and characters of them after which it ends. */
const STEP_RECORDS = 500;
const STEP_CHARS = 256 * 1_024;
/** How long a stage lives after its newest step, ms. */
const LIFE_MS = 30_000;
/** Time that a record adds to the time that the preparation may take, ms. */
const RECORD_MS = 0.1;
/** Preparations of a tenant that others have come before, one after the other: the next commit is one script. */
const MAX_LOST = 2;
/** What is not waited for when it is cleared away, ms. */
const CLEAR_MS = 1_000;

/** Kinds that are ready to take their places. */
export interface Stage {
  /** What `FLIP` needs beside `COMMIT`: its further keys, and its arguments before the changes. */
  readonly keys: readonly string[];
  readonly args: readonly Argument[];
  /** Changes of the other kinds. */
  readonly rest: readonly Change[];
  /** Nonce of the head that it was built on; `''`: there was none. */
  readonly nonce: string;
}

export interface Stager {
  /**
   * @returns `undefined`: the commit is to be one script; `moved`: the head is another (`''`: none), nothing was done
   * @throws StoreError nothing was done
   */
  prepare(
    client: Client,
    commit: Commit,
    nonce: string,
  ): Promise<Stage | { readonly moved: string } | undefined>;
  /** Sends the script that ends a commit, and clears the stage away where it was in vain. */
  end<T extends { readonly answer: unknown }>(
    client: Client,
    commit: Commit,
    stage: Stage | undefined,
    send: () => Promise<T>,
  ): Promise<T>;
}

/** @param timeoutMs how long a preparation may take, beside what its records add */
export function openStager(keys: Keys, timeoutMs: number): Stager {
  /** How often in turn others came first, by tenant. */
  const lost = new Map<string, number>();
  const lose = (tenant: string): void => void lost.set(tenant, (lost.get(tenant) ?? 0) + 1);

  return {
    async prepare(client, commit, nonce) {
      const { tenant } = commit;
      const large = largeKinds(commit.changes);
      if (large.size === 0 || (lost.get(tenant) ?? 0) >= MAX_LOST) return undefined;
      const run = new Run(client, keys, commit, nonce, timeoutMs);
      try {
        const stage = await run.build(large);
        if (stage === undefined || 'moved' in stage) await run.clear();
        if (stage !== undefined && 'moved' in stage && run.isUnderWay) lose(tenant);
        return stage;
      } catch (error) {
        await run.clear();
        // A user with the rights of an earlier version, and a Redis without room for a copy: as it was without this.
        if (error instanceof NoRightError || isFull(error)) return undefined;
        throw error instanceof UnknownOutcomeError ? notDone(error) : error;
      }
    },

    async end(client, { tenant, changes }, stage, send) {
      try {
        const sent = await send();
        const done = (sent.answer as readonly unknown[])[0] === 1;
        // Small ones are those that came before.
        if (done && changes.length > MAX_AT_ONCE) lost.delete(tenant);
        if (!done && stage !== undefined) {
          lose(tenant);
          await unlink(client, stage.keys);
        }
        return sent;
      } catch (error) {
        // What may still be done needs its stage.
        if (stage !== undefined && !(error instanceof UnknownOutcomeError))
          await unlink(client, stage.keys);
        throw error;
      }
    },
  };
}

/** Changes of the kinds of which many change, in a commit of many. */
function largeKinds(changes: readonly Change[]): ReadonlyMap<Kind, readonly Change[]> {
  if (changes.length <= MAX_AT_ONCE) return new Map();
  const large = new Map<Kind, readonly Change[]>();
  for (const [kind, some] of Map.groupBy(changes, (change) => change.kind))
    if (some.length >= MIN_OF_KIND) large.set(kind, some);
  return large;
}

/** The preparation of one commit: its steps are numbered, and each is done once. */
class Run {
  readonly #client: Client;
  readonly #keys: Keys;
  readonly #commit: Commit;
  readonly #nonce: string;
  readonly #step: string;
  readonly #timeoutMs: number;
  #left: () => number;
  #staged: readonly string[] = [];
  #head = '';
  #number = 0;
  #last = '';

  constructor(client: Client, keys: Keys, commit: Commit, nonce: string, timeoutMs: number) {
    this.#client = client;
    this.#keys = keys;
    this.#commit = commit;
    this.#nonce = nonce;
    this.#step = keys.stage(commit.tenant, nonce);
    this.#timeoutMs = timeoutMs;
    this.#left = countdown(timeoutMs);
  }

  /** Whether it has done more than to begin. */
  get isUnderWay(): boolean {
    return this.#number > 0;
  }

  async build(
    large: ReadonlyMap<Kind, readonly Change[]>,
  ): Promise<Stage | { readonly moved: string } | undefined> {
    const { tenant, expected, changes, nonce = '' } = this.#commit;
    const kinds = [...large.keys()];
    const places = kinds.flatMap((kind) => [
      this.#keys.records(tenant, kind),
      this.#keys.index(tenant, kind),
      ...this.#placesOf(kind),
    ]);
    const head = this.#keys.head(tenant);
    const began = await this.#send(
      STAGE,
      [head, this.#step, ...places],
      [expected, nonce, LIFE_MS],
    );
    const [same, text, ...counts] = began as [0 | 1, string, ...number[]];
    this.#head = text;
    if (same === 0) return { moved: text };
    const worth = kinds.filter((kind, at) => {
      const count = counts[at] ?? -1;
      return count >= 0 && count <= MAX_COPIED * (large.get(kind)?.length ?? 0);
    });
    if (worth.length === 0) return undefined;
    this.#staged = worth.flatMap((kind) => this.#placesOf(kind));
    const copied = counts.reduce((sum, count) => sum + Math.max(0, count), 0);
    this.#left = countdown(this.#timeoutMs + (copied + changes.length) * RECORD_MS);
    for (const kind of worth) {
      const empty = counts[kinds.indexOf(kind)] === 0;
      const same = (empty || (await this.#copy(kind))) && (await this.#put(kind, large.get(kind)));
      if (!same) return { moved: this.#head };
    }
    return {
      keys: [this.#step, ...this.#staged],
      args: [
        `${this.#number} ${this.#last}`,
        worth.length,
        ...worth.map((kind) => KINDS.indexOf(kind) + 1),
      ],
      rest: changes.filter(({ kind }) => !worth.includes(kind)),
      nonce: this.#head.slice(this.#head.indexOf(' ') + 1),
    };
  }

  clear(): Promise<void> {
    return unlink(this.#client, [this.#step, ...this.#staged]);
  }

  #placesOf(kind: Kind): readonly [records: string, index: string] {
    const { tenant } = this.#commit;
    return [
      this.#keys.stagedRecords(tenant, this.#nonce, kind),
      this.#keys.stagedIndex(tenant, this.#nonce, kind),
    ];
  }

  /** @returns whether the head is still the same */
  async #copy(kind: Kind): Promise<boolean> {
    let from = '-';
    do {
      if (!(await this.#next(STAGE_COPY, kind, [from, STEP_RECORDS, STEP_CHARS]))) return false;
      from = this.#last;
    } while (from !== '');
    return true;
  }

  /** @returns whether the head is still the same */
  async #put(kind: Kind, changes: readonly Change[] = []): Promise<boolean> {
    let args: string[] = [];
    let chars = 0;
    for (const [at, change] of changes.entries()) {
      const text = changeText(change);
      args.push(change.id, text);
      chars += text.length;
      const full = args.length >= 2 * STEP_RECORDS || chars >= STEP_CHARS;
      if (!full && at < changes.length - 1) continue;
      if (!(await this.#next(STAGE_PUT, kind, args))) return false;
      args = [];
      chars = 0;
    }
    return true;
  }

  async #next(script: Script, kind: Kind, args: readonly Argument[]): Promise<boolean> {
    const { tenant } = this.#commit;
    const own = this.#placesOf(kind);
    const places = [
      this.#keys.head(tenant),
      this.#step,
      this.#keys.records(tenant, kind),
      this.#keys.index(tenant, kind),
      ...own,
      ...this.#staged.filter((key) => !own.includes(key)),
    ];
    this.#number++;
    const answer = await this.#send(script, places, [this.#number, this.#head, LIFE_MS, ...args]);
    const [same, text] = answer as [0 | 1, string];
    if (same === 1) this.#last = text;
    else this.#head = text;
    return same === 1;
  }

  async #send(
    script: Script,
    places: readonly string[],
    args: readonly Argument[],
  ): Promise<unknown> {
    const { answer } = await resendUntilKnown(this.#client, this.#left, (client) =>
      client.write(this.#left(), { script, keys: places, args }, { count: 0, ms: 0 }),
    );
    return answer;
  }
}

/** In the background, as far as Redis is there: what is left expires. */
async function unlink(client: Client, keys: readonly string[]): Promise<void> {
  await client.command(CLEAR_MS, 'UNLINK', ...keys).catch(() => {});
}

/** The outcome of a step may be unknown; the commit is then not done, as its last script was not sent. */
function notDone({ message }: UnknownOutcomeError): StoreError {
  const cause = message.replace(/^UNKNOWN outcome: /, '').replace(/: the commit may have .*$/, '');
  return new StoreError(`nothing is committed, it was being prepared: ${cause}`);
}

function isFull(error: unknown): boolean {
  return error instanceof StoreError && /\bOOM /.test(error.message);
}
