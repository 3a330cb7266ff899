/** The audit sink under faults: refused where it cannot be opened, counted where it loses, never in the way of the end. */
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openFile } from '../../src/audit/sinks/file.ts';
import { openSink, type Sink } from '../../src/audit/sinks/queue.ts';
import { postern, serve } from '../support/process.ts';
import { PACKAGE_ROOT } from '../support/package-root.ts';
import { connectTo } from '../support/server.ts';

const read = {
  tenant: 'demo',
  subject: { id: 'alice' },
  action: 'read',
  resource: { path: 'work' },
};
const settings = (audit: string): string =>
  `catalog: ${PACKAGE_ROOT}/config/actions.yaml\ndefault_roles: ${PACKAGE_ROOT}/config/roles.yaml\nstore: embedded:store\ngrpc: { address: 127.0.0.1:0 }\nhttp: { address: 127.0.0.1:0 }\naudit: ${audit}\nshutdown: { grace_ms: 500 }\n`;

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'postern-audit-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

describe('a file that cannot be kept', () => {
  it.each(['.', '/proc/nope/audit.jsonl'])('%s refuses the start', async (file) => {
    const config = join(directory, 'postern.yaml');
    writeFileSync(config, settings(`{ sinks: [{ type: file, path: '${file}' }] }`));
    const ran = await postern(['serve', '--config', config, '--demo']);
    expect(ran.code).toBe(2);
    expect(ran.stderr).toContain('audit.sinks:');
    expect(ran.stderr).toContain('cannot be opened: give a file that can be appended to');
  });
});

describe('a full disk', () => {
  it.runIf(existsSync('/dev/full'))(
    'stops no decision, is logged, and does not keep the process from ending',
    async () => {
      const own = await serve(['--demo'], {
        settings: settings('{ sinks: [{ type: file, path: /dev/full }] }'),
      });
      const client = connectTo(own.grpc);
      for (let i = 0; i < 20; i++)
        expect(await client.call('Check', read)).toMatchObject({ allowed: true });
      client.close();
      await expect.poll(() => own.stderr()).toContain('ENOSPC');
      const metrics = await (await fetch(`http://${own.http}/metrics`)).text();
      // They wait for room: none is lost yet.
      expect(metrics).toMatch(/postern_audit_queue_length\{sink="file"\} 2[012]\n/);
      expect(metrics).toContain('postern_audit_records_total{sink="file",result="dropped"} 0');
      const startedAt = performance.now();
      expect(await own.stop()).toBe(1);
      expect(performance.now() - startedAt).toBeLessThan(5_000);
      // With their seals.
      expect(own.stderr()).toMatch(
        /"sink":"file","dropped":2[123],"msg":"audit records were lost"/,
      );
      await own.dispose();
    },
  );
});

describe('signals', () => {
  it('a second SIGTERM does not cut the drain short', async () => {
    const own = await serve(['--demo'], {
      settings: `${settings('{ sinks: [] }')}limits: { max_wait_ms: 400 }\n`,
    });
    const client = connectTo(own.grpc);
    const waiting = client
      .call('Check', { ...read, min_revision: 99 }, 10_000)
      .catch((e: unknown) => e);
    await new Promise((done) => setTimeout(done, 50));
    own.child.kill('SIGTERM');
    await new Promise((done) => setTimeout(done, 50));
    expect(await own.stop()).toBe(0);
    expect((await waiting) as { code: number }).toMatchObject({ code: 14 });
    client.close();
    await own.dispose();
  });
});

describe('the queue', () => {
  const open = (path: string, bufferBytes: number): Sink => {
    const onError = (): void => {};
    const unbounded = { rotateBytes: 0, rotateMs: 0, keepFiles: 0, keepMs: 0, keepBytes: 0 };
    const file = openFile({ path, durable: false, ...unbounded, onError });
    const options = { name: 'file', mode: 'drop', timeoutMs: 1_000, bufferBytes, onError } as const;
    return openSink(file, options);
  };

  it('keeps every line, in order, UTF-8 and all', async () => {
    const file = join(directory, 'lines.jsonl');
    const audit = open(file, 64 * 1024 * 1024);
    const lines = Array.from(
      { length: 20_000 },
      (_, n) => `{"n":${n},"x":"é日\u{1f600}${'y'.repeat(n % 300)}"}`,
    );
    for (const line of lines) void audit.write(line);
    void audit.write(`"${'z'.repeat(1_000_000)}"`);
    await audit.close(20_000);
    expect(audit.stats().dropped).toBe(0);
    const written = readFileSync(file, 'utf8').split('\n');
    expect(written.slice(0, -2)).toEqual(lines);
    expect(written.at(-2)).toHaveLength(1_000_002);
  });

  it('drops what its bound has no room for, and counts it', async () => {
    const file = join(directory, 'bounded.jsonl');
    const audit = open(file, 1_000);
    for (let n = 0; n < 100; n++) void audit.write('x'.repeat(99));
    await audit.close(500);
    const kept = readFileSync(file, 'utf8').split('\n').length - 1;
    expect(kept).toBeGreaterThan(0);
    expect(kept + audit.stats().dropped).toBe(100);
  });
});

describe('a pipe that is closed', () => {
  it('does not change the exit code of an answer, nor the gate of a server', async () => {
    const own = await serve(['--demo'], { settings: settings('{ sinks: [{ type: stdout }] }') });
    // The reader goes away.
    own.child.stdout?.destroy();
    const client = connectTo(own.grpc);
    for (let i = 0; i < 50; i++)
      expect(await client.call('Check', read)).toMatchObject({ allowed: true });
    client.close();
    const command = `"${process.execPath}" "${PACKAGE_ROOT}/dist/postern.js" --tenant demo --address ${own.grpc} check alice read work | true; exit "\${PIPESTATUS[0]}"`;
    const code = await new Promise((done) =>
      spawn('bash', ['-c', command], { stdio: 'ignore' }).on('exit', done),
    );
    expect(code).toBe(0);
    expect(await own.stop()).toBe(0);
    await own.dispose();
  });
});
