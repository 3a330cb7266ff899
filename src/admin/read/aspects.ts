/** How one field of a record is listed: a value, a flag, a list, memberships, or things with an id. */
import { isDeepStrictEqual } from 'node:util';

/** One fact that changed. */
export interface FactChange {
  readonly change: 'add' | 'remove' | 'change';
  /** What it is: `permission`, `member`, `level`, `grant`, `owner`, `rule`, … */
  readonly fact: string;
  /** What has it: `role:engineering`, `user:alice`, `key:agent-1`; `''` for a record itself. */
  readonly of: string;
  /** The tree path of a grant or an owner; `''`: the root, or none. */
  readonly path: string;
  /** The values that went; empty where one was added. */
  readonly before: readonly string[];
  /** The values that came; empty where one was removed. */
  readonly after: readonly string[];
  /** The same in words: `permission kb:read of role:engineering`. */
  readonly text: string;
}

export type Tell = (fact: FactChange) => void;

/** Tells what changed of one field. @param name of the record, for example `role:engineering` */
export interface Aspect<R> {
  readonly tell: (name: string, before: R | undefined, after: R | undefined, tell: Tell) => void;
  /** Told of a record that is deleted, too: others are touched by it. */
  readonly whenDeleted?: boolean;
}

/** A row for each field; `undefined`: it follows from others, or is listed with another record. */
export type Aspects<R> = { readonly [F in keyof R]-?: Aspect<R> | undefined };

/** Longest value in a text, characters; `before` and `after` hold all of it. */
const MAX_SHOWN = 120;

export function shown(value: string): string {
  return value.length <= MAX_SHOWN
    ? value
    : `${value.slice(0, MAX_SHOWN)}… (${value.length} characters)`;
}

/** A user bare, anything else with its type; a user whose id looks like another principal is written in full. */
function bare(principal: string): string {
  const id = principal.startsWith('user:') ? principal.slice(5) : principal;
  return /^(user|role|workspace):/.test(id) ? principal : id;
}

/** One value, or none. @param absent the value that a new record has without being listed */
export function value<R>(
  fact: string,
  read: (record: R) => string | undefined,
  absent?: string,
): Aspect<R> {
  return {
    tell(name, before, after, tell) {
      const [old, now] = [before && read(before), after && read(after)];
      if (old === now || (before === undefined && now === absent)) return;
      tellValue(fact, name, old, now, tell);
    },
  };
}

export function tellValue(
  fact: string,
  name: string,
  old: string | undefined,
  now: string | undefined,
  tell: Tell,
): void {
  const change = old === undefined ? 'add' : now === undefined ? 'remove' : 'change';
  const [before, after] = [old, now].map((one) => (one === undefined ? [] : [one]));
  const values = [old, now].flatMap((one) => (one === undefined ? [] : [shown(one)]));
  tell({
    change,
    fact,
    of: name,
    path: '',
    before: before ?? [],
    after: after ?? [],
    text: `${fact} ${values.join(' → ')} of ${name}`,
  });
}

/** Something that a record has or has not. */
export function flag<R>(fact: string, read: (record: R) => boolean): Aspect<R> {
  return {
    tell(name, before, after, tell) {
      const [old, now] = [before !== undefined && read(before), after !== undefined && read(after)];
      if (old !== now) tell(plain(now ? 'add' : 'remove', fact, name, [], `${fact} of ${name}`));
    },
  };
}

export function plain(
  change: 'add' | 'remove',
  fact: string,
  of: string,
  values: readonly string[],
  text: string,
  path = '',
): FactChange {
  const [before, after] = change === 'add' ? [[], values] : [values, []];
  return { change, fact, of, path, before, after, text };
}

/** What came to a list and what went from it, each as one fact. */
export function list<R>(
  fact: string,
  read: (record: R) => readonly string[] | undefined,
  words = (values: string, name: string): string => `${fact} ${values} of ${name}`,
): Aspect<R> {
  return {
    tell(name, before, after, tell) {
      const { gone, come } = compared((before && read(before)) ?? [], (after && read(after)) ?? []);
      for (const [change, values] of [['add', come] as const, ['remove', gone] as const])
        if (values.length > 0)
          tell(plain(change, fact, name, values, words(values.map(shown).join(', '), name)));
    },
  };
}

export function compared(
  before: readonly string[],
  after: readonly string[],
): { readonly gone: readonly string[]; readonly come: readonly string[] } {
  const [old, now] = [new Set(before), new Set(after)];
  return {
    gone: before.filter((one) => !now.has(one)),
    come: after.filter((one) => !old.has(one)),
  };
}

/** Memberships: listed with the group, one for each. */
export function groups<R>(
  type: 'role' | 'workspace',
  read: (record: R) => readonly string[],
): Aspect<R> {
  return {
    whenDeleted: true,
    tell(name, before, after, tell) {
      const { gone, come } = compared(before ? read(before) : [], after ? read(after) : []);
      const one = (change: 'add' | 'remove', id: string): void =>
        tell(
          plain(change, 'member', `${type}:${id}`, [name], `member ${bare(name)} of ${type}:${id}`),
        );
      for (const id of come) one('add', id);
      for (const id of gone) one('remove', id);
    },
  };
}

/** Things with an id, each listed as one value. */
export function items<R, I>(
  fact: string,
  read: (record: R) => readonly I[] | undefined,
  idOf: (item: I) => string,
  textOf: (item: I) => string | undefined,
): Aspect<R> {
  return {
    tell(name, before, after, tell) {
      const of = (record: R | undefined): ReadonlyMap<string, I> =>
        new Map(((record && read(record)) ?? []).map((item) => [idOf(item), item]));
      const [old, now] = [of(before), of(after)];
      for (const [id, item] of now)
        if (!old.has(id)) tell(plain('add', fact, name, [id], `${fact} ${shown(id)} of ${name}`));
        else if (!isDeepStrictEqual(old.get(id), item)) changed(id, old.get(id), item, name, tell);
      for (const id of old.keys())
        if (!now.has(id))
          tell(plain('remove', fact, name, [id], `${fact} ${shown(id)} of ${name}`));
    },
  };

  function changed(id: string, old: I | undefined, now: I, name: string, tell: Tell): void {
    const [before, after] = [old && textOf(old), textOf(now)];
    const how =
      before === undefined || after === undefined ? '' : `: ${shown(before)} → ${shown(after)}`;
    tell({
      change: 'change',
      fact,
      of: name,
      path: '',
      before: [before ?? id],
      after: [after ?? id],
      text: `${fact} ${shown(id)} of ${name}${how}`,
    });
  }
}
