/**
 * What a name that is not there was probably meant to be. Only for who may read all facts: for anybody else the names
 * of a tenant are not to be found out by guessing near them.
 */
import { suggest } from '../../config/problem.ts';
import { mayReadAll, type Authority } from '../actor.ts';
import { foldCase } from '../../engine/fold.ts';
import { nameId } from '../links.ts';
import { Refused, type Sought } from '../refused.ts';
import type { World } from '../world.ts';

/** Names that are compared: each costs about a microsecond. */
const MAX_NAMES = 5_000;

/** The same refusal, with the nearest name where there is one. May read more of the world. */
export function withSuggestion(error: unknown, world: World, authority: Authority): unknown {
  if (!(error instanceof Refused) || error.sought === undefined || !mayReadAll(authority))
    return error;
  const { kinds, id } = error.sought;
  const hint = suggest(id, namesOf(world, kinds, id).slice(0, MAX_NAMES));
  // What is known is a list of its own; here only a near name helps.
  if (hint.startsWith(': did')) error.message += hint;
  return error;
}

function namesOf(world: World, kinds: Sought['kinds'], id: string): readonly string[] {
  return kinds.flatMap((kind): readonly string[] => {
    switch (kind) {
      case 'role':
      case 'workspace':
        return world.all(kind).map((record) => record.id);
      case 'policy_set':
        return world.all(kind).map(({ name }) => name);
      case 'user':
        // Users are many: those that differ in case alone are known without a look at all.
        return world.get('name', nameId('fold', foldCase(id)))?.users ?? [];
    }
  });
}
