/** What once existed and may be created again only by those who answer for the whole tenant (ADM-4, ADM-8). */
import type { Subject } from '../../engine/model.ts';
import type { TombstoneRecord, UserRecord } from '../../engine/records.ts';
import { isAdministrator } from '../actor.ts';
import type { Context } from '../context.ts';
import { nameOf } from '../principals.ts';
import { denied } from '../refused.ts';
import type { World } from '../world.ts';

/** Deletes a group and leaves its tombstone. */
export function buryGroup(world: World, group: Subject & { readonly type: Group }): void {
  world.put(group.type, group.id, undefined);
  const name = nameOf(group);
  world.put('tombstone', name, { id: name });
}

export type Group = 'role' | 'workspace';

/**
 * A group or user of that id may be created: it never existed, or the actor is an administrator, who is warned.
 * @param names what once existed under it, `role:crew`
 * @throws Refused PERMISSION_DENIED (ADM-4)
 */
export function mayCreateAgain({ authority, warnings }: Context, names: readonly string[]): void {
  for (const name of names) {
    if (!isAdministrator(authority))
      throw denied(
        'ADM-4',
        `\`${name}\` existed once and \`${authority.name}\` may not create it again, because lists of objects may still name it`,
        'a holder of postern:admin, or a superuser',
      );
    warnings.push(createdAgain(name));
  }
}

export function createdAgain(name: string): string {
  return `\`${name}\` existed once: lists of objects that still name it give it access again`;
}

/** What once existed under an id that users and roles share, and exists no more. */
export function buriedPrincipals(world: World, id: string): string[] {
  return [
    ...(world.get('user', id)?.deleted === true ? [`user:${id}`] : []),
    ...buriedGroups(world, { type: 'role', id }),
  ];
}

export function buriedGroups(world: World, group: Subject): string[] {
  const name = nameOf(group);
  return world.get('tombstone', name) === undefined ? [] : [name];
}

/** The group exists: it has no tombstone. */
export function raiseGroup(world: World, group: Subject): void {
  const name = nameOf(group);
  if (world.get('tombstone', name) !== undefined) world.put('tombstone', name, undefined);
}

interface Groups {
  readonly role: ReadonlyMap<string, unknown>;
  readonly workspace: ReadonlyMap<string, unknown>;
}

/** Tombstones after a whole state is applied: those before, and those of groups that are gone, but of none that is there. */
export function tombstonesAfter(
  stored: Groups & { readonly tombstone: ReadonlyMap<string, TombstoneRecord> },
  wanted: Groups & { readonly tombstone: ReadonlyMap<string, TombstoneRecord> },
): Map<string, TombstoneRecord> {
  const names = (groups: Groups): string[] =>
    (['role', 'workspace'] as const).flatMap((type) =>
      [...groups[type].keys()].map((id) => nameOf({ type, id })),
    );
  const here = new Set(names(wanted));
  const gone = [...stored.tombstone.keys(), ...wanted.tombstone.keys(), ...names(stored)];
  return new Map(gone.filter((name) => !here.has(name)).map((id) => [id, { id }]));
}

/** Warnings on users and groups that a whole state creates again. */
export function createdAgainBy(
  stored: Groups & {
    readonly tombstone: ReadonlyMap<string, TombstoneRecord>;
    readonly user: ReadonlyMap<string, UserRecord>;
  },
  wanted: {
    readonly tombstone: ReadonlyMap<string, TombstoneRecord>;
    readonly user: ReadonlyMap<string, UserRecord>;
  },
): string[] {
  const groups = [...stored.tombstone.keys()].filter((name) => !wanted.tombstone.has(name));
  const users = [...stored.user.values()].filter(
    ({ id, deleted }) => deleted && wanted.user.get(id)?.deleted === false,
  );
  return [...users.map(({ id }) => `user:${id}`), ...groups].map(createdAgain);
}
