/** What cached facts take in memory, by an estimate: bounds of caches are kept by it. */
import type { KeyFacts } from '../engine/abac.ts';
import type { KeyRecord, PolicySetRecord, UserRecord } from '../engine/records.ts';

/** Bytes of a compiled rule, of one of its actions, attributes and values; measured on keys of 1 to 2,000 rules. */
const RULE = 110;
const ACTION = 160;
const ATTRIBUTE = 290;
const VALUE = 60;

/** Bytes of a cached key: its record, and its compiled rules, which are its own and not shared with other keys. */
export function sizeOfKey({
  record,
  compiled,
}: {
  readonly record: KeyRecord | undefined;
  readonly compiled: KeyFacts | undefined;
}): number {
  const { policySets = [], secrets = [] } = record ?? {};
  const own = 900 + 100 * policySets.length + 200 * secrets.length;
  if (compiled === undefined) return own;
  const { sets, shadow } = compiled;
  const enforced =
    compiled.record.mode === 'enforce' ? sets.filter(({ mode }) => mode === 'enforce') : [];
  const counted = shadow === undefined ? [] : sets.filter(({ mode }) => mode !== 'off');
  return own + sizeOfTable(enforced) + sizeOfTable(counted);
}

function sizeOfTable(sets: readonly PolicySetRecord[]): number {
  let bytes = 0;
  for (const { rules } of sets)
    for (const { actions, attributes = [] } of rules) {
      bytes += RULE + ACTION * actions.length;
      for (const [, values] of attributes) bytes += ATTRIBUTE + VALUE * values.length;
    }
  return bytes;
}

/** Bytes of a cached user, record and compiled form, as measured on records of 0 to 100 grants. */
export function sizeOfUser({ record }: { readonly record: UserRecord | undefined }): number {
  if (record === undefined) return 700;
  const { grants, roles, workspaces, owns, metadata } = record;
  const rest = metadata === undefined ? 0 : JSON.stringify(metadata).length * 8;
  const paths = grants.reduce((sum, { path }) => sum + path.length, 0);
  const names = roles.length + workspaces.length + owns.length;
  return 700 + 320 * grants.length + paths + 60 * names + rest;
}
