/** What follows from an operation on grants, ownerships, memberships and users, in the same commit (ADM-3). */
import type { UserRecord } from '../../engine/records.ts';
import type { Reading, World } from '../world.ts';
import { recomputeClosures } from './closures.ts';
import { cascade, type Fallen, type Loss } from './cascade.ts';
import { reassign, type Succession } from './reassign.ts';

/** Said by a rule, done after it. */
export interface Follows {
  /** Tombstones of users, of whom much may have followed (ADM-8). */
  readonly deleted: UserRecord[];
  /** Roles of which the direct memberships have changed (ADM-6). */
  readonly closures: string[];
  /** Who may have lost something by it. */
  readonly losses: Loss[];
  /** Who takes over what another has given; before anything falls. */
  readonly successions: Succession[];
  /** What the answer tells besides, or why it cannot be done, once all that falls has fallen. */
  later: ((world: World, fallen: Fallen) => object) | undefined;
}

export function nothingFollows(): Follows {
  return { deleted: [], closures: [], losses: [], successions: [], later: undefined };
}

/** Does it. @throws Refused where a closure is too large (ADM-6), or `later` refuses */
export async function follow(
  world: Reading,
  { deleted, closures, losses, successions, later }: Follows,
): Promise<{ readonly fallen: Fallen; readonly told: object }> {
  for (const user of deleted) await world.putInTurns('user', user.id, user);
  await recomputeClosures(world, closures);
  const taken: Loss[] = [];
  for (const succession of successions) taken.push(...(await reassign(world, succession)));
  const fallen = await cascade(world, [...losses, ...taken]);
  return { fallen, told: later?.(world, fallen) ?? {} };
}
