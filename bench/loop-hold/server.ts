/**
 * A server that watches its own event loop: it writes its address, then answers `reset` and `longest` on its input.
 * What counts is CPU time of its thread between two looks at a timer that is always due: time in which the machine
 * had given the core to somebody else is not the server's.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { startTestServer } from '../../test/support/server.ts';
import { yamlText } from '../../src/config/yaml-text.ts';
import { OPERATOR_TOKEN } from './admin-client.ts';
import { routesFile } from './ext-authz.ts';
import { largeState } from './world.ts';

function cpuMs(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1_000;
}

// The machine may be busy: what is measured is not how soon the answer comes.
const [kind] = process.argv.slice(2);
const directory = mkdtempSync(join(tmpdir(), 'postern-loop-hold-'));
const keyFile = join(directory, 'hash.key');
writeFileSync(keyFile, 'k'.repeat(64), { mode: 0o600 });
const routes = join(directory, 'routes.yaml');
writeFileSync(routes, yamlText(routesFile()));
const redaction = {
  hash_key_file: keyFile,
  fields: [
    { path: 'subject', action: 'hash' },
    { path: 'key_id', action: 'hash' },
    { path: 'resource.id', action: 'hash' },
    { path: 'resource.attributes', action: 'mask' },
    { path: 'objects', action: 'hash' },
  ],
};
const server = await startTestServer(
  largeState(kind === 'inputs'),
  {
    limits: { max_wait_ms: 30_000 },
    routes,
    // Records with all inputs are the most work.
    audit: {
      attributes: true,
      ...(kind === 'redacted' ? redaction : {}),
      sinks: [{ type: 'file', path: join(directory, 'audit.jsonl'), mode: 'drop' }],
    },
  },
  OPERATOR_TOKEN,
);
let longest = { cpu: 0, clock: 0 };
let at = { cpu: cpuMs(), clock: performance.now() };
const look = (): void => {
  const now = { cpu: cpuMs(), clock: performance.now() };
  longest = {
    cpu: Math.max(longest.cpu, now.cpu - at.cpu),
    clock: Math.max(longest.clock, now.clock - at.clock),
  };
  at = now;
};
const watching = setInterval(look, 1);
process.stdout.write(`${server.running.addresses.grpc}\n`);
for await (const line of createInterface({ input: process.stdin })) {
  look();
  if (line === 'reset') longest = { cpu: 0, clock: 0 };
  process.stdout.write(`${longest.cpu} ${longest.clock}\n`);
}
clearInterval(watching);
await server.close();
rmSync(directory, { recursive: true });
