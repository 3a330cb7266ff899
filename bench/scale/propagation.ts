/** Revocations: how long somebody else still allows what a commit has taken away. */
import { Redis } from 'ioredis';
import type { Store } from '../../src/store/store.ts';
import { startScript } from '../../test/support/child.ts';
import { assertAnswer } from '../scenario.ts';
import { openAsker, type Asker } from './asking.ts';
import { startBareServer, type Sidecar } from './sidecar.ts';
import { nowNs, sleep, spread, watchStolen, type Spread } from './stats.ts';
import { commitTo, requestOf, userChange, type Size } from './world.ts';
import { revisionOf } from './writes.ts';

/** Revocations of a server before the bare one's turn: both must have met the same machine. */
const TURN = 50;
const BARE_CHANNEL = 'bench-revoked';

export interface RevokeOptions {
  readonly revokes: number;
  /** Of the last users, how many were revoked before. */
  readonly skip: number;
  readonly checksPerSecond: number;
}

export interface Propagation {
  readonly revokes: number;
  /** 0 where nobody asks but who looks for the denial. */
  readonly checksPerSecond: number;
  /** From the acknowledgement of the commit until the other instance denies, ns. */
  readonly acknowledged: Spread;
  /** The same from when the commit was begun. */
  readonly begun: Spread;
  /** Share of the processors' time that the host kept from this machine meanwhile. */
  readonly stolen: number;
}

export interface ServerPropagation extends Propagation {
  /** The same for a server that only hears who was revoked, in turns with the other: the floor. */
  readonly bare: Pick<Propagation, 'acknowledged' | 'begun'>;
}

/** Somebody whose revocations are looked for. */
interface Watched {
  /** Sees a user allowed, then looks for the first denial and tells when it was, by `nowNs`. */
  arm(n: number): Promise<{ readonly denied: Promise<number> }>;
  /** Resolves when the revocation is acknowledged. */
  revoke(n: number): Promise<void>;
}

interface Samples {
  readonly acknowledged: number[];
  readonly begun: number[];
}

async function revokeEach(
  watched: Watched,
  users: readonly number[],
  samples: Samples,
): Promise<void> {
  for (const n of users) {
    const { denied } = await watched.arm(n);
    // Not in step with whatever else the other instance does.
    await sleep(Math.random() * 5);
    const begunAt = nowNs();
    await watched.revoke(n);
    const acknowledgedAt = nowNs();
    const deniedAt = await denied;
    // It may be denied there before the acknowledgement is here.
    samples.acknowledged.push(Math.max(0, deniedAt - acknowledgedAt));
    samples.begun.push(deniedAt - begunAt);
  }
}

function spreads({ acknowledged, begun }: Samples): Pick<Propagation, 'acknowledged' | 'begun'> {
  return { acknowledged: spread(acknowledged), begun: spread(begun) };
}

function noSamples(): Samples {
  return { acknowledged: [], begun: [] };
}

/** The last users, from the end. */
function lastUsers(size: Size, { revokes, skip }: RevokeOptions): number[] {
  return Array.from({ length: revokes }, (_, revoke) => size.users - 1 - skip - revoke);
}

/** Takes all grants of a user away. */
async function openRevoker(store: Store, size: Size): Promise<Watched['revoke']> {
  let expected = await revisionOf(store, size.tenant);
  return async (n) => {
    const change = userChange(size, n, { grants: [] });
    expected = (await commitTo(store, size.tenant, expected, [change])).revision;
  };
}

/** Two instances, each with a store connection and caches of its own, without a transport. */
export async function measurePropagation(
  url: string,
  store: Store,
  size: Size,
  options: RevokeOptions,
): Promise<Propagation> {
  const child = startScript(
    new URL('./instance.ts', import.meta.url),
    url,
    JSON.stringify(size),
    String(options.checksPerSecond),
  );
  try {
    assertAnswer('the other instance', await child.line(), 'ready');
    const watched: Watched = {
      async arm(n) {
        child.write(`${n}\n`);
        assertAnswer('before the revoke', await child.line(), 'allowed');
        return { denied: child.line().then(Number) };
      },
      revoke: await openRevoker(store, size),
    };
    const samples = noSamples();
    const stolen = watchStolen();
    await revokeEach(watched, lastUsers(size, options), samples);
    const measured = { ...spreads(samples), stolen: stolen() };
    child.endInput();
    const rate = Number(await child.line());
    const checksPerSecond = options.checksPerSecond === 0 ? 0 : rate;
    return { revokes: options.revokes, checksPerSecond, ...measured };
  } finally {
    await child.kill();
  }
}

/** The other instance is a server, and is asked over gRPC without a pause. */
export async function measureServerPropagation(
  url: string,
  store: Store,
  size: Size,
  sidecar: Sidecar,
  options: RevokeOptions,
): Promise<ServerPropagation> {
  const bareServer = await startBareServer(url, BARE_CHANNEL);
  const publisher = new Redis(url);
  const asker = await openAsker(sidecar.address, size);
  const bareAsker = await openAsker(bareServer.address, size);
  try {
    for (const one of [asker, bareAsker]) await one.warmUp();
    const ours = watch(asker, size, await openRevoker(store, size));
    const bare = watch(bareAsker, size, async (n) => {
      await publisher.publish(BARE_CHANNEL, requestOf(size, n).subject?.id ?? '');
    });
    const users = lastUsers(size, options);
    const samples = { ours: noSamples(), bare: noSamples() };
    const rates: number[] = [];
    const stolen = watchStolen();
    for (let at = 0; at < users.length; at += TURN) {
      const turn = users.slice(at, at + TURN);
      const { checksPerSecond } = options;
      rates.push(
        await asker.underLoad(checksPerSecond, () => revokeEach(ours, turn, samples.ours)),
      );
      await bareAsker.underLoad(checksPerSecond, () => revokeEach(bare, turn, samples.bare));
    }
    const rate = rates.reduce((sum, one) => sum + one, 0) / rates.length;
    return {
      revokes: options.revokes,
      checksPerSecond: options.checksPerSecond === 0 ? 0 : rate,
      ...spreads(samples.ours),
      bare: spreads(samples.bare),
      stolen: stolen(),
    };
  } finally {
    asker.close();
    bareAsker.close();
    publisher.disconnect();
    await bareServer.stop();
  }
}

function watch(asker: Asker, size: Size, revoke: Watched['revoke']): Watched {
  return {
    async arm(n) {
      const ask = (): Promise<boolean> => asker.ask(requestOf(size, n, 'user'));
      assertAnswer('before the revoke', await ask(), true);
      const untilDenied = async (): Promise<number> => {
        while (await ask());
        return nowNs();
      };
      return { denied: untilDenied() };
    },
    revoke,
  };
}
