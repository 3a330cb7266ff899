/** One operation of a tenant after the other: those of one process need not race for the revision. */
import { Refused } from './refused.ts';

/** Operations of one tenant that may wait for each other here, before callers are asked to come back. */
const MAX_QUEUE = 1_000;

interface Queue {
  /** Settles a turn after the newest operation has ended. */
  readonly last: Promise<unknown>;
  readonly length: number;
}

export class TenantQueues {
  readonly #queues = new Map<string, Queue>();

  /** Runs an operation after those of the same tenant that came before. @throws Refused ABORTED where too many wait */
  async run<T>(tenant: string, operation: () => Promise<T>): Promise<T> {
    const queue = this.#queues.get(tenant);
    const length = queue?.length ?? 0;
    if (length >= MAX_QUEUE)
      throw new Refused(
        'aborted',
        `${MAX_QUEUE} operations of tenant \`${tenant}\` wait already: try again later`,
      );
    const run = (queue?.last ?? Promise.resolve()).then(operation, operation);
    // The next one begins a turn later: else whoever waits to try again would never find a moment without us.
    const yielded = (): Promise<void> => new Promise((go) => setImmediate(go));
    const last = run.then(yielded, yielded);
    this.#queues.set(tenant, { last, length: length + 1 });
    await last;
    this.#leave(tenant, last);
    return run;
  }

  #leave(tenant: string, last: Promise<unknown>): void {
    const queue = this.#queues.get(tenant);
    if (queue?.last === last) this.#queues.delete(tenant);
    else if (queue !== undefined) this.#queues.set(tenant, { ...queue, length: queue.length - 1 });
  }
}
