/** What audit costs of gRPC Check: the same load with records off, to a file in mode drop, and in mode strict. */
import { checks, SERVICE } from '../messages.ts';
import { median } from '../measure.ts';
import { VARIETY } from '../world.ts';
import { time, type Row, type RunOptions, type Scenario } from '../scenario.ts';
import {
  runLoad,
  startPostern,
  withDirectory,
  type Measured,
  type RunningServer,
} from '../servers.ts';
import { PROCESSES, requestFile } from './grpc.ts';

const MODES = ['off', 'file', 'strict'] as const;
type Mode = (typeof MODES)[number];
type Turn = Readonly<Record<Mode, Measured>>;

const NAMES: Readonly<Record<Mode, string>> = {
  off: 'audit off',
  file: 'to a file, drop',
  strict: 'to a file, strict (fdatasync a batch)',
};
/** Of the throughput without records, at most so much. */
const COSTS: Readonly<Record<Mode, number | undefined>> = {
  off: undefined,
  file: 0.1,
  strict: 0.3,
};
const TURNS = 3;
const IN_FLIGHT = 64;

export const auditCost: Scenario = {
  name: 'audit',
  run: ({ quick }: RunOptions) =>
    withDirectory(async (directory) => {
      const requests = requestFile(directory, 'audit', checks());
      const turns: Turn[] = [];
      for (let process = 0; process < (quick ? 1 : PROCESSES); process++) {
        const servers = new Map<Mode, RunningServer>();
        for (const mode of MODES) servers.set(mode, await startPostern(directory, mode));
        for (let turn = 0; turn < (quick ? 1 : TURNS); turn++) {
          const measured: Partial<Record<Mode, Measured>> = {};
          const first = turn % MODES.length;
          for (const mode of [...MODES.slice(first), ...MODES.slice(0, first)]) {
            const server = servers.get(mode);
            if (server === undefined) continue;
            measured[mode] = await runLoad(server, {
              address: server.address,
              path: `${SERVICE}/Check`,
              requests,
              connections: 4,
              inFlight: IN_FLIGHT,
              warmUpCalls: turn === 0 ? 10_000 : 1_000,
              ms: quick ? 500 : 800,
              by: 'frames',
            });
          }
          // Every mode was measured in the loop.
          turns.push(measured as Turn);
        }
        for (const server of servers.values()) await server.stop();
      }
      return { name: 'audit', rows: MODES.map((mode) => rowOf(mode, turns)) };
    }),
};

function rowOf(mode: Mode, turns: readonly Turn[]): Row {
  const rate = ({ calls, seconds }: Measured): number => calls / seconds;
  const of = (value: (measured: Measured) => number): number =>
    median(turns.map((turn) => value(turn[mode])));
  const cost = 1 - median(turns.map((turn) => rate(turn[mode]) / rate(turn.off)));
  const most = COSTS[mode];
  const row = {
    scenario: `Check, ${VARIETY} questions, ${IN_FLIGHT} in flight, ${NAMES[mode]}`,
    cells: {
      'calls/s': Math.round(of(rate)).toLocaleString('en-US'),
      'cost of throughput': `${(cost * 100).toFixed(1)} %`,
      p50: `${of(({ p50 }) => p50).toFixed(2)} ms`,
      p99: `${of(({ p99 }) => p99).toFixed(2)} ms`,
      'CPU a call': time(of(({ serverCpuUs }) => serverCpuUs) * 1_000),
    },
  };
  return most === undefined
    ? row
    : {
        ...row,
        target: { text: `≤ ${most * 100} % of throughput`, met: cost <= most },
      };
}
