/**
 * How long each RPC holds the event loop at its limits (ADM-11): `npm run bench:loop-hold [-- WORD]`. The server is a
 * process of its own that watches its own loop. Each call is made several times, and the median of the longest holds
 * counts. Exits with 1 where one is over the bound.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { connectTo } from '../test/support/server.ts';
import { startScript, type Child } from '../test/support/child.ts';
import { adminCalls } from './loop-hold/admin.ts';
import { authorizationCalls } from './loop-hold/authorization.ts';
import type { LimitCall } from './loop-hold/limit-call.ts';

/** No call holds the loop longer, ms. */
const BOUND_MS = 50;
const RUNS = 5;

const CALLS: readonly LimitCall[] = [...authorizationCalls(), ...adminCalls()];

interface Row {
  readonly call: LimitCall;
  readonly holdMs: number;
  readonly tookMs: number;
}

const [only = ''] = process.argv.slice(2);
const server = startScript(new URL('loop-hold/server.ts', import.meta.url), 'inputs');
const address = await server.line();
const client = connectTo(address, { own: true });
const rows: Row[] = [];
try {
  for (const call of CALLS)
    if (`${call.rpc} ${call.what}`.includes(only)) rows.push(await measured(server, call));
} finally {
  client.close();
  server.endInput();
  await server.ended;
}
print(rows);
process.exitCode = rows.some(({ holdMs }) => holdMs > BOUND_MS) ? 1 : 0;

async function measured(child: Child, call: LimitCall): Promise<Row> {
  const run = await call.prepare(client, address);
  // The first one compiles code and reads facts.
  await run();
  const holds: number[] = [];
  const times: number[] = [];
  for (let i = 0; i < RUNS; i++) {
    child.write('reset\n');
    await child.line();
    const startedAt = performance.now();
    await run();
    times.push(performance.now() - startedAt);
    await sleep(5);
    child.write('longest\n');
    holds.push(Number(await child.line()));
  }
  return { call, holdMs: median(holds), tookMs: median(times) };
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? NaN;
}

/** As docs/limits.md shows it. */
function print(all: readonly Row[]): void {
  const lines = all.map(
    ({ call, holdMs, tookMs }) =>
      `| \`${call.rpc}\` | ${call.what} | ${holdMs.toFixed(1)} | ${tookMs.toFixed(0)} |`,
  );
  const head = [
    '| call | at its limits | longest block, ms of CPU | answer time, ms |',
    '| - | - | -: | -: |',
  ];
  process.stdout.write(`${[...head, ...lines].join('\n')}\n`);
}
