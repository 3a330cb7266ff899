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
      const [old, now] = [rowsOf(before?.grants), rowsOf(after?.grants)];
      for (const [key, row] of now) tellRow(name, old.get(key), row, tell);
      for (const [key, row] of old) if (!now.has(key)) tellRow(name, row, undefined, tell);
    },
  };
}

/** By their identity (TREE-3). */
function rowsOf(rows: readonly GrantRow[] = []): ReadonlyMap<string, GrantRow> {
  return new Map(rows.map((row) => [JSON.stringify([row.path, row.grantor]), row]));
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
