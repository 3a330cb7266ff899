/** A store whose records are looked at before anybody believes them (CONS-6), whatever store it is. */
import { Breath } from '../../util/breath.ts';
import { later, type MaybePromise } from '../../util/later.ts';
import { mapInTurns } from '../../util/turns.ts';
import {
  StoreError,
  Unreadable,
  UnreadableError,
  type FactKey,
  type FactValue,
  type Found,
  type Page,
  type Snapshot,
  type Store,
} from '../store.ts';
import { recordProblem } from './records.ts';

type Value = FactValue | Unreadable | undefined;
type Entry = readonly [id: string, value: Value];

/** @returns the store; its `get` and `scan` throw UnreadableError where a record is not what its key says */
export function checked(store: Store): Store {
  return {
    ...store,
    get: (tenant, keys) =>
      lenient(
        () => store.get(tenant, keys),
        ({ head, values }: Snapshot) => ({
          head,
          values: values.map((value, index): Entry => [keys[index]?.id ?? '', value]),
        }),
        (found) => {
          return later(
            look(tenant, found, (index) => keys[index]),
            ({ head, values }) => ({ head, values: values.map(([, value]) => value) }),
          );
        },
      ),
    scan: (tenant, kind, after, limit) =>
      lenient(
        () => store.scan(tenant, kind, after, limit),
        ({ head, entries, next }: Page) => ({ head, values: entries, next }),
        (found) => {
          return later(
            look(tenant, found, (_, id) => ({ kind, id })),
            ({ head, values }) => {
              // A scan yields what is there.
              const entries = values.flatMap(([id, value]) =>
                value === undefined ? [] : [[id, value] as const],
              );
              return { head, entries, next: found.next };
            },
          );
        },
      ),
    async commit(commit) {
      const breath = new Breath();
      for (const { kind, id, value } of commit.changes) {
        await breath.take();
        const problem =
          value === undefined ? undefined : recordProblem(commit.tenant, { kind, id }, value);
        if (problem !== undefined)
          throw new StoreError(`the ${kind} \`${id}\` cannot be stored: ${problem}`);
      }
      return store.commit(commit);
    },
  };
}

/** Goes on with what was found, whether or not the store has thrown because some of it is unreadable. */
function lenient<T, U>(
  read: () => MaybePromise<T>,
  of: (answer: T) => Found<Entry>,
  go: (found: Found<Entry>) => MaybePromise<U>,
): MaybePromise<U> {
  const unless = (error: unknown): MaybePromise<U> => {
    if (error instanceof UnreadableError) return go(error.found);
    throw error;
  };
  let answer: MaybePromise<T>;
  try {
    answer = read();
  } catch (error) {
    return unless(error);
  }
  return answer instanceof Promise ? answer.then((came) => go(of(came)), unless) : go(of(answer));
}

/** @throws UnreadableError where a record is unreadable, or not what its key says */
function look(
  tenant: string,
  found: Found<Entry>,
  keyAt: (index: number, id: string) => FactKey | undefined,
): MaybePromise<Found<readonly [id: string, value: FactValue | undefined]>> {
  let first: Unreadable | undefined;
  const read = ([id, value]: Entry, index: number): Entry => {
    const key = keyAt(index, id);
    if (value === undefined || key === undefined) return [id, undefined];
    const problem = value instanceof Unreadable ? undefined : recordProblem(tenant, key, value);
    const kept = problem === undefined ? value : new Unreadable(key, problem);
    if (kept instanceof Unreadable) first ??= kept;
    return [id, kept];
  };
  return later(mapInTurns(found.values, read), (seen) => {
    if (first !== undefined) throw new UnreadableError({ ...found, values: seen }, first);
    // None of them is unreadable.
    return { ...found, values: seen as (readonly [string, FactValue | undefined])[] };
  });
}
