/** Remembers that the Redis behind the connections was verified, until a connection is lost. */
import { UnusableStoreError } from '../store.ts';

/** Time between two checks of a Redis that was not usable, ms. */
const RECHECK_MS = 200;

export class Verified {
  readonly #verify: () => Promise<void>;
  /** The check that is under way, was passed, or failed a moment ago; `undefined`: the next call begins one. */
  #check: Promise<void> | undefined;
  #wasPassed = false;

  constructor(verify: () => Promise<void>) {
    this.#verify = verify;
  }

  /** Resolves when the check is passed, or was passed before. @throws StoreError */
  wait(): Promise<void> {
    if (this.#check !== undefined) return this.#check;
    const check = this.#run();
    this.#check = check;
    check.catch(() => this.#forgetLater());
    return check;
  }

  /** The next call verifies again. */
  forget(): void {
    this.#check = undefined;
  }

  async #run(): Promise<void> {
    try {
      await this.#verify();
      this.#wasPassed = true;
    } catch (error) {
      if (error instanceof UnusableStoreError || !this.#wasPassed) throw error;
      // It may be a cluster of which a node is away: the others go on.
      this.#forgetLater();
    }
  }

  #forgetLater(): void {
    const check = this.#check;
    setTimeout(() => {
      if (this.#check === check) this.forget();
    }, RECHECK_MS).unref();
  }
}
