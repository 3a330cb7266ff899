/** Tree grants and ownership: a right at a path applies to the path and below (TREE-1 to TREE-5). */
import { treeActionOf, type Action } from '../action.ts';
import { FactList, grantRef, ownerRef } from '../explanation.ts';
import type { Grants } from '../grants.ts';
import { covers } from '../path.ts';
import type { GrantRow, RoleRecord, UserRecord, WorkspaceRecord } from '../records.ts';
import type { SubjectFacts } from '../subject.ts';
import type { ModelRules } from './rules.ts';

/** Holders of grants: the subject, and its groups for all their members. */
interface Holder {
  readonly own: Grants;
  readonly groups: { readonly grants: Grants };
}

/** Whether the subject or one of its groups holds the action at the path or at an ancestor (TREE-1). */
export function treeAllows(
  { own, groups }: Holder,
  action: Action,
  path: string | undefined,
): boolean {
  const bit = action.treeBit;
  if (path === undefined || bit === 0) return false;
  return holdsAbove(own, bit, path) || holdsAbove(groups.grants, bit, path);
}

function holdsAbove({ masks, lengths }: Grants, bit: number, path: string): boolean {
  for (const length of lengths) {
    if (length > path.length) return false;
    // A prefix is an ancestor only at a label border (PATH-2).
    const border = length === 0 || length === path.length || path.charCodeAt(length) === DOT;
    if (border && ((masks.get(path.slice(0, length)) ?? 0) & bit) !== 0) return true;
  }
  return false;
}

const DOT = 0x2e;

/** Whether a grant row holds the tree action at the path (TREE-1). */
function grantCovers(row: GrantRow, action: string, path: string): boolean {
  return covers(row.path, path) && row.actions.some((held) => held === action);
}

export const tree: ModelRules = {
  *facts({ subject, action }, { path }, chainTo, meter) {
    const name = treeActionOf(action);
    const facts = new FactList();
    if (path === undefined || name === undefined) return facts.all();
    const owns = subject.record?.owns ?? [];
    if (meter.isStepDue(owns.length)) meter.isLate ||= yield;
    for (const owned of owns)
      if (covers(owned, path) && facts.takes('owner'))
        facts.add({
          kind: 'owner',
          text: `${subject.subject.id} owns '${owned}'`,
          ref: ownerRef(owned),
        });
    for (const [type, { id, grants }] of holders(subject)) {
      if (meter.isStepDue(grants.length + 1)) meter.isLate ||= yield;
      for (const row of grants) {
        if (!grantCovers(row, name, path) || !facts.takes('grant')) continue;
        const by = row.grantor === '' ? '' : `, granted by ${row.grantor}`;
        const text = `${type} ${id} has ${name} on '${row.path}'${by}`;
        const ref = grantRef(`${type}:${id}`, row.path);
        facts.add(
          type === 'user'
            ? { kind: 'grant', text, ref }
            : { kind: 'grant', text, ref, chain: yield* chainTo(`${type}:${id}`) },
        );
      }
    }
    return facts.all();
  },

  silence({ action }, { path }) {
    if (action.treeBit === 0) return `${action.name} has no tree action`;
    if (path === undefined) return 'the resource has no path';
    return `no grant or ownership of the closure covers ${treeActionOf(action) ?? ''} on '${path}'`;
  },

  mayAllow: ({ subject, action }, { path }, withheld) =>
    withheld.path ? action.treeBit !== 0 : treeAllows(subject, action, path),

  candidates({ subject, action }, { path }) {
    const name = treeActionOf(action);
    if (path === undefined || name === undefined) return [];
    const { type, id } = subject.subject;
    return [
      { missing: { kind: 'grant', text: `a grant of ${name} on '${path}' to ${type}:${id}` } },
    ];
  },

  missingOnRole: () => undefined,

  givenByGroup(action, { path }) {
    const name = treeActionOf(action);
    return (_type, { grants }) =>
      path !== undefined &&
      name !== undefined &&
      grants.some((row) => grantCovers(row, name, path));
  },
};

function holders({
  record,
  groups,
}: SubjectFacts): readonly (readonly [string, UserRecord | RoleRecord | WorkspaceRecord])[] {
  return [
    ...(record === undefined ? [] : [['user', record] as const]),
    ...[...groups.roles.values()].map((role) => ['role', role] as const),
    ...[...groups.workspaces.values()].map((workspace) => ['workspace', workspace] as const),
  ];
}
