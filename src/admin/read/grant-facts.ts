/** Grant rows as facts: actions that were granted or revoked, and the right to give them on. */
import { isDeepStrictEqual } from 'node:util';
import type { GrantRow } from '../../engine/records.ts';
import { optionsOf } from '../tree/rows.ts';
import { compared, plain, type Aspect, type Tell } from './aspects.ts';

/** What came to the rows of a principal and what went from them, actions and options apart (TREE-3). */
export function grants<R extends { readonly grants: readonly GrantRow[] }>(): Aspect<R> {
  return {
    whenDeleted: true,
    tell(name, before, after, tell) {
      const steps = tellRows(name, before?.grants, after?.grants, tell);
      while (steps.next().done !== true);
    },
  };
}

/** The same, a row a step: a principal may have very many. */
export function* tellRows(
  name: string,
  before: readonly GrantRow[] = [],
  after: readonly GrantRow[] = [],
  tell: Tell,
): Generator<undefined> {
  const stays = new Set(before).intersection(new Set(after));
  const [old, now] = [rowsOf(before, stays), rowsOf(after, stays)];
  for (const [key, row] of now) {
    tellRow(name, old.get(key), row, tell);
    yield;
  }
  for (const [key, row] of old) {
    if (!now.has(key)) tellRow(name, row, undefined, tell);
    yield;
  }
}

/** By their identity (TREE-3), but for those that stay as they are. */
function rowsOf(
  rows: readonly GrantRow[],
  stays: ReadonlySet<GrantRow>,
): ReadonlyMap<string, GrantRow> {
  const changed = rows.filter((row) => !stays.has(row));
  return new Map(changed.map((row) => [`${row.path} ${row.grantor}`, row]));
}

function tellRow(
  holder: string,
  before: GrantRow | undefined,
  after: GrantRow | undefined,
  tell: Tell,
): void {
  const row = after ?? before;
  if (row === undefined || isDeepStrictEqual(before, after)) return;
  const by = row.grantor === '' ? '' : ` by ${row.grantor}`;
  const where = `on '${row.path}' to ${holder}${by}`;
  const actions = compared(before?.actions ?? [], after?.actions ?? []);
  const options = compared(optionsIn(before), optionsIn(after));
  const one = (
    change: 'add' | 'remove',
    fact: string,
    words: string,
    values: readonly string[],
  ) => {
    if (values.length === 0) return;
    tell(plain(change, fact, holder, values, `${words} ${values.join(',')} ${where}`, row.path));
  };
  one('add', 'grant', 'grant', actions.come);
  one('add', 'grant option', 'grant option for', options.come);
  one('remove', 'grant option', 'grant option for', options.gone);
  one('remove', 'grant', 'grant', actions.gone);
}

function optionsIn(row: GrantRow | undefined): readonly string[] {
  return row === undefined ? [] : optionsOf(row);
}
