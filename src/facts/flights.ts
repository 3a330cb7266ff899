/** Reads under way: all who need the same record wait for one read, and a change seen meanwhile spoils it. */
import type { FeedEntry } from '../store/store.ts';
import type { OnDemandKey } from './contract.ts';
import type { Plane } from './plane.ts';

interface Flight {
  /** Settles with the read. */
  readonly done: Promise<void>;
  /** Newest revision at which the feed named the record since the read began; 0: none. */
  changedAt: number;
}

export class Flights {
  readonly #flights = new Map<string, Flight>();

  /** The read of a record that is under way, if there is one. */
  of(plane: Plane, key: OnDemandKey): Promise<void> | undefined {
    return this.#flights.get(flightName(plane.tenant, key))?.done;
  }

  /** Registers a read of records until it settles. */
  start(plane: Plane, keys: readonly OnDemandKey[], done: Promise<void>): void {
    for (const key of keys) {
      const name = flightName(plane.tenant, key);
      this.#flights.set(name, { done, changedAt: 0 });
      const land = (): void => void this.#flights.delete(name);
      done.then(land, land);
    }
  }

  /** Notes which records commits have changed. */
  note(tenant: string, { revision, keys = [] }: FeedEntry): void {
    for (const { kind, id } of keys) {
      if (kind !== 'user' && kind !== 'key') continue;
      const flight = this.#flights.get(flightName(tenant, { kind, id }));
      if (flight !== undefined) flight.changedAt = Math.max(flight.changedAt, revision);
    }
  }

  /** Whether a record that was read at a revision was changed after it. */
  isSpoiled(plane: Plane, key: OnDemandKey, revision: number): boolean {
    return (this.#flights.get(flightName(plane.tenant, key))?.changedAt ?? 0) > revision;
  }
}

/** Injective: the tenant's length keeps it apart from the id, whatever characters either has. */
function flightName(tenant: string, { kind, id }: OnDemandKey): string {
  return `${kind} ${tenant.length} ${tenant}${id}`;
}
