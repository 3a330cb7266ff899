/** Counts by name, of so many names at most: what is over is counted together, so that no log fills the memory. */

/** What was seen under one name. */
export interface Tally {
  readonly requests: number;
  /** Objects of Filters; 0 where there were checks only. */
  readonly objects: number;
  /** Times of records. */
  readonly first_seen: string;
  readonly last_seen: string;
  /** Decision ids, the first that were read. */
  readonly examples: readonly string[];
}

export interface Seen {
  readonly time: string;
  readonly decision_id: string;
}

export interface Tallies<Name extends object> {
  add(name: Name, seen: Seen, objects?: number): void;
  /** The most frequent first. */
  list(): readonly (Name & Tally)[];
  /** What came under further names; `undefined`: there were none. */
  others(): Tally | undefined;
}

const MAX_EXAMPLES = 5;

export function tallies<Name extends object>(maxNames: number): Tallies<Name> {
  const known = new Map<string, Name & Tally>();
  let others: Tally | undefined;
  return {
    add(name, seen, objects = 0): void {
      const key = JSON.stringify(name);
      const before = known.get(key);
      if (before !== undefined || known.size < maxNames)
        known.set(key, { ...name, ...counted(before, seen, objects) });
      else others = counted(others, seen, objects);
    },
    list: () => [...known.values()].sort((a, b) => b.requests - a.requests),
    others: () => others,
  };
}

/** One more. */
export function counted(
  before: Tally | undefined,
  { time, decision_id }: Seen,
  objects = 0,
): Tally {
  if (before === undefined)
    return { requests: 1, objects, first_seen: time, last_seen: time, examples: [decision_id] };
  const { requests, first_seen, last_seen, examples } = before;
  return {
    requests: requests + 1,
    objects: before.objects + objects,
    first_seen: time < first_seen ? time : first_seen,
    last_seen: time > last_seen ? time : last_seen,
    examples: examples.length < MAX_EXAMPLES ? [...examples, decision_id] : examples,
  };
}
