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
  /** More fields of the answer, or why it cannot be done, once all that falls has fallen. */
  later: ((world: World, fallen: Fallen) => object) | undefined;
}

export function nothingFollows(): Follows {
  return { deleted: [], closures: [], losses: [], successions: [], later: undefined };
}

/** Does what a rule has said must follow. @returns what fell, and more fields of the answer @throws Refused where a closure is too large (ADM-6), or `later` refuses */
export async function follow(
  world: Reading,
  { deleted, closures, losses, successions, later }: Follows,
): Promise<{ readonly fallen: Fallen; readonly answer: object }> {
  for (const user of deleted) await world.putInTurns('user', user.id, user);
  await recomputeClosures(world, closures);
  const takenOver: Loss[] = [];
  for (const succession of successions) takenOver.push(...(await reassign(world, succession)));
  const fallen = await cascade(world, [...losses, ...takenOver]);
  return { fallen, answer: later?.(world, fallen) ?? {} };
}
