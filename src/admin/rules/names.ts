/** Users by what they are called: no two of a tenant may be taken for one (ID-2, ADM-4). */
import { foldCase } from '../../engine/fold.ts';
import type { UserRecord } from '../../engine/records.ts';
import type { FactKey } from '../../store/store.ts';
import { INDEXED, linksOf, nameId } from '../links.ts';
import type { World } from '../world.ts';

interface Names {
  readonly id: string;
  readonly externalId?: string | undefined;
  readonly email?: string | undefined;
}

/** The records that the functions here look at. */
export function keysOfNames({ id, externalId = '', email = '' }: Names): FactKey[] {
  const folded = foldCase(id);
  return [
    { kind: 'name', id: INDEXED.id },
    { kind: 'user', id: folded },
    { kind: 'name', id: nameId('fold', folded) },
    ...(externalId === ''
      ? []
      : [{ kind: 'name' as const, id: nameId('external_id', externalId) }]),
    ...(email === '' ? [] : [{ kind: 'name' as const, id: nameId('email', foldCase(email)) }]),
  ];
}

/** Another user whose id is the same under case folding, a tombstone too; `undefined`: none. */
export function idTwin(world: World, id: string): string | undefined {
  const folded = foldCase(id);
  const own = folded !== id && world.get('user', folded) !== undefined ? [folded] : [];
  const others = world.get('name', nameId('fold', folded))?.users ?? [];
  return [...own, ...others].find((other) => other !== id);
}

export function externalTwin(world: World, id: string, externalId: string): string | undefined {
  const users = world.get('name', nameId('external_id', externalId))?.users ?? [];
  return users.find((other) => other !== id);
}

export function emailTwin(world: World, id: string, email: string): string | undefined {
  const users = world.get('name', nameId('email', foldCase(email)))?.users ?? [];
  return users.find((other) => other !== id);
}

/** Indexes a tenant that was written before names were folded fully: once, in the commit that needs it. */
export function indexNames(world: World): void {
  if (world.get('name', INDEXED.id) !== undefined) return;
  const links = world.all('user').flatMap(namesOf);
  world.prefetch(links.map(({ id }) => ({ kind: 'name', id })));
  for (const { id, item } of links) {
    const users = world.get('name', id)?.users ?? [];
    if (!users.includes(item)) world.put('name', id, { id, users: [...users, item].sort() });
  }
  world.put('name', INDEXED.id, INDEXED);
}

/** What of a user's names is folded otherwise than by its lower case. */
function namesOf(user: UserRecord): { readonly id: string; readonly item: string }[] {
  const { id, email = '' } = user;
  if ([id, email].every((text) => foldCase(text) === text.toLowerCase())) return [];
  return linksOf('user', user, () => undefined).filter(({ kind }) => kind === 'name');
}
