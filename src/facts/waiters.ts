/** Calls that wait until a tenant is at a revision (CONS-1). */

interface Waiter {
  readonly revision: number;
  /** Ends the wait. */
  readonly resume: () => void;
}

export class Waiters {
  readonly #byTenant = new Map<string, Set<Waiter>>();
  readonly #max: number;
  #count = 0;

  /** @param max calls that may wait at once */
  constructor(max: number) {
    this.#max = max;
  }

  get isFull(): boolean {
    return this.#count >= this.#max;
  }

  /** Tenants that calls wait for. */
  tenants(): Iterable<string> {
    return this.#byTenant.keys();
  }

  /** Resolves when the tenant may be at the revision, after the time, or when all waiting ends. @param ms above 0 */
  async wait(tenant: string, revision: number, ms: number): Promise<void> {
    const here = this.#byTenant.get(tenant) ?? new Set();
    this.#byTenant.set(tenant, here);
    this.#count++;
    await new Promise<void>((done) => {
      const waiter: Waiter = {
        revision,
        resume: () => {
          clearTimeout(timer);
          here.delete(waiter);
          if (here.size === 0 && this.#byTenant.get(tenant) === here) this.#byTenant.delete(tenant);
          this.#count--;
          done();
        },
      };
      const timer = setTimeout(waiter.resume, ms);
      here.add(waiter);
    });
  }

  /** Resumes the calls whose revision is reached. @param reached `undefined`: the tenant is not loaded; all resume */
  wake(tenant: string, reached: number | undefined): void {
    for (const waiter of this.#byTenant.get(tenant) ?? [])
      if (reached === undefined || reached >= waiter.revision) waiter.resume();
  }

  /** Resumes all calls. */
  close(): void {
    for (const here of this.#byTenant.values()) for (const waiter of here) waiter.resume();
  }
}
