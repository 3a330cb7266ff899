/** A warm Check as its caller sees it: over gRPC, of servers whose tenants differ in size. */
import { median } from '../measure.ts';
import { assertAnswer } from '../scenario.ts';
import { openAsker, type Asker } from './asking.ts';
import { nowNs, spread, type Spread } from './stats.ts';
import { requestOf, type Size } from './world.ts';

/** Users that are asked about in turn: the last, who were asked about just before. */
const USERS = 100;
/** As often each of them is asked about in a turn. */
const ROUNDS = 5;

export interface Server {
  readonly address: string;
  readonly size: Size;
}

export interface Served extends Pick<Spread, 'p50' | 'p99'> {
  readonly size: Size;
  /** Of the medians of a turn to those of the first server in the same turn, the median. */
  readonly toFirst: number;
}

/** Asks one question after the other, of each server in turns, so that noise of the machine meets each. */
export async function measureServed(servers: readonly Server[], turns: number): Promise<Served[]> {
  const askers: Asker[] = [];
  try {
    for (const { address, size } of servers) {
      const asker = await openAsker(address, size);
      askers.push(asker);
      await asker.warmUp();
    }
    const seen = servers.map((): Spread[] => []);
    for (let turn = 0; turn < turns; turn++)
      for (let at = 0; at < servers.length; at++) {
        const index = (at + turn) % servers.length;
        const [asker, server] = [askers[index], servers[index]];
        if (asker !== undefined && server !== undefined)
          seen[index]?.push(spread(await oneTurn(asker, server.size)));
      }
    const [first = []] = seen;
    return servers.map(({ size }, index) => {
      const own = seen[index] ?? [];
      return {
        size,
        p50: median(own.map(({ p50 }) => p50)),
        p99: median(own.map(({ p99 }) => p99)),
        toFirst: median(own.map(({ p50 }, turn) => p50 / (first[turn]?.p50 ?? NaN))),
      };
    });
  } finally {
    for (const asker of askers) asker.close();
  }
}

/** How long each question took, ns. */
async function oneTurn(asker: Asker, size: Size): Promise<number[]> {
  const requests = Array.from({ length: Math.min(USERS, size.users) }, (_, n) =>
    requestOf(size, size.users - 1 - n),
  );
  const took: number[] = [];
  for (let round = 0; round < ROUNDS; round++)
    for (const request of requests) {
      const startedAt = nowNs();
      const allowed = await asker.ask(request);
      took.push(nowNs() - startedAt);
      assertAnswer('warm Check', allowed, true);
    }
  return took;
}
