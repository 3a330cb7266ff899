/**
 * A server that watches its own event loop: it writes its address, then answers `reset` and `longest` on its input.
 * What counts is CPU time of its thread between two looks at a timer that is always due: time in which the machine
 * had given the core to somebody else is not the server's.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { startTestServer } from '../../test/support/server.ts';
import { OPERATOR_TOKEN } from './admin.ts';
import { largeState } from './world.ts';

function cpuMs(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1_000;
}

// The machine may be busy: what is measured is not how soon the answer comes.
const isInputRecorded = process.argv[2] === 'inputs';
const directory = mkdtempSync(join(tmpdir(), 'postern-loop-hold-'));
const server = await startTestServer(
  largeState(),
  {
    limits: { max_wait_ms: 30_000 },
    // Records with all inputs are the most work.
    audit: {
      attributes: isInputRecorded,
      sinks: [{ type: 'file', path: join(directory, 'audit.jsonl'), mode: 'drop' }],
    },
  },
  OPERATOR_TOKEN,
);
let longestMs = 0;
let at = cpuMs();
const look = (): void => {
  const now = cpuMs();
  longestMs = Math.max(longestMs, now - at);
  at = now;
};
const watching = setInterval(look, 1);
process.stdout.write(`${server.running.addresses.grpc}\n`);
for await (const line of createInterface({ input: process.stdin })) {
  look();
  if (line === 'reset') longestMs = 0;
  process.stdout.write(`${longestMs}\n`);
}
clearInterval(watching);
await server.close();
rmSync(directory, { recursive: true });
