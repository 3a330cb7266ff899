/**
 * How long each RPC holds the event loop at its limits (ADM-11): `npm run bench:loop-hold [-- WORD]`. Each server is a
 * process of its own that watches its own loop. Each call is made several times after a first one that is not counted,
 * and the median of the longest holds counts. Exits with 1 where one is over the bound.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { connectTo } from '../test/support/server.ts';
import { startScript, type Child } from '../test/support/child.ts';
import { adminCalls } from './loop-hold/admin.ts';
import { authorizationCalls, redactedCalls } from './loop-hold/authorization.ts';
import { extAuthzCalls } from './loop-hold/ext-authz.ts';
import type { LimitCall } from './loop-hold/limit-call.ts';
import { stateCalls } from './loop-hold/states.ts';

/** No call holds the loop longer, ms. */
const BOUND_MS = 50;
const RUNS = 5;

const CALLS: readonly LimitCall[] = [
  ...authorizationCalls(),
  ...extAuthzCalls(),
  ...adminCalls(),
  ...stateCalls(),
  ...redactedCalls(),
];

interface Row {
  readonly call: LimitCall;
  /** Of each run, the longest hold: ms of CPU of the thread, and ms on the clock. */
  readonly holds: readonly (readonly [cpu: number, clock: number])[];
  readonly tookMs: number;
}

const [only = ''] = process.argv.slice(2);
const rows: Row[] = [];
for (const kind of ['inputs', 'redacted'] as const) {
  const calls = CALLS.filter(
    ({ rpc, what, server = 'inputs' }) => server === kind && `${rpc} ${what}`.includes(only),
  );
  if (calls.length > 0) await measureAll(kind, calls);
}
print();
process.exitCode = rows.some(({ holds }) => median(holds.map(([cpu]) => cpu)) > BOUND_MS) ? 1 : 0;

async function measureAll(kind: string, calls: readonly LimitCall[]): Promise<void> {
  const server = startScript(new URL('loop-hold/server.ts', import.meta.url), kind);
  const address = await server.line();
  const client = connectTo(address, { own: true });
  try {
    for (const call of calls) {
      const row = await measured(server, call, () => call.prepare(client, address));
      rows.push(row);
      process.stderr.write(`${lineOf(row)}\n`);
    }
  } finally {
    client.close();
    server.endInput();
    await server.ended;
  }
}

async function measured(
  child: Child,
  call: LimitCall,
  prepare: () => ReturnType<LimitCall['prepare']>,
): Promise<Row> {
  const { before, run, after, count = RUNS } = await prepare();
  const holds: (readonly [number, number])[] = [];
  const times: number[] = [];
  for (let at = 0; at <= count; at++) {
    await before?.(at);
    child.write('reset\n');
    await child.line();
    const startedAt = performance.now();
    await run(at);
    const took = performance.now() - startedAt;
    // What it leaves behind: other instances' hints, records, caches.
    await sleep(20);
    child.write('longest\n');
    const [cpu = NaN, clock = NaN] = (await child.line()).split(' ').map(Number);
    await after?.(at);
    // The first one compiles code and reads facts.
    if (at === 0) continue;
    holds.push([cpu, clock]);
    times.push(took);
  }
  return { call, holds, tookMs: median(times) };
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? NaN;
}

function lineOf({ call, holds, tookMs }: Row): string {
  const cpu = holds.map(([one]) => one);
  const shown = [median(cpu), Math.max(...cpu), median(holds.map(([, clock]) => clock))];
  return `| \`${call.rpc}\` | ${call.what} | ${shown.map((ms) => ms.toFixed(1)).join(' | ')} | ${tookMs.toFixed(0)} |`;
}

/** As docs/limits.md shows it. */
function print(): void {
  const head = [
    '| call | at its limits | longest block, ms of CPU | worst run | longest block, ms on the clock | answer time, ms |',
    '| - | - | -: | -: | -: | -: |',
  ];
  process.stdout.write(`${[...head, ...rows.map(lineOf)].join('\n')}\n`);
}
