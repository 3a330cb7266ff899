/** Runs rules over a tenant's facts, all of one revision, and reads what they lack between their runs. */
import { StoreError, type FactKey, type Head, type Store } from '../store/store.ts';
import { Breath } from '../util/breath.ts';
import { Changed, Draft, Missing } from './draft.ts';
import { Loaded, LostTrack } from './loaded.ts';
import type { Difference, Reading, World } from './world.ts';

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
