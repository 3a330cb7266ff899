/** What audit costs of gRPC Check: the same load with records off, to a file in mode drop, and in mode strict. */
import { checks, SERVICE } from '../messages.ts';
import { median } from '../measure.ts';
import { VARIETY } from '../world.ts';
import { time, type Row, type RunOptions, type Scenario } from '../scenario.ts';
import { inTurns, startPostern, summary, withDirectory, type Measured } from '../servers.ts';
import { PROCESSES, QUICK_SLICES, requestFile, SLICES, WARM_UP_CALLS } from './grpc.ts';

const MODES = ['off', 'file', 'strict'] as const;
type Mode = (typeof MODES)[number];
type Round = Readonly<Record<Mode, Measured>>;

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
const IN_FLIGHT = 64;

export const auditCost: Scenario = {
  name: 'audit',
  run: ({ quick }: RunOptions) =>
    withDirectory(async (directory) => {
      const requests = requestFile(directory, 'audit', checks());
      const rounds: Round[] = [];
      for (let process = 0; process < (quick ? 1 : PROCESSES); process++) {
        const servers = {
          off: await startPostern(directory, 'off'),
          file: await startPostern(directory, 'file'),
          strict: await startPostern(directory, 'strict'),
        };
        const taken = await inTurns(
          servers,
          (address) => ({
            address,
            path: `${SERVICE}/Check`,
            requests,
            connections: 4,
            inFlight: IN_FLIGHT,
            by: 'frames',
          }),
          { warmUpCalls: WARM_UP_CALLS, ...(quick ? QUICK_SLICES : SLICES) },
        );
        rounds.push({
          off: summary(taken.off),
          file: summary(taken.file),
          strict: summary(taken.strict),
        });
        for (const server of Object.values(servers)) await server.stop();
      }
      return { name: 'audit', rows: MODES.map((mode) => rowOf(mode, rounds)) };
    }),
};

function rowOf(mode: Mode, rounds: readonly Round[]): Row {
  const of = (value: (measured: Measured) => number): number =>
    median(rounds.map((round) => value(round[mode])));
  const cost = 1 - median(rounds.map((round) => round[mode].rate / round.off.rate));
  const most = COSTS[mode];
  const row = {
    scenario: `Check, ${VARIETY} questions, ${IN_FLIGHT} in flight, ${NAMES[mode]}`,
    cells: {
      'calls/s': Math.round(of(({ rate }) => rate)).toLocaleString('en-US'),
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
