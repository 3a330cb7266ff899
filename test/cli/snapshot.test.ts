/** A sidecar that starts while Redis is away: from its last good facts, or not at all (CONS-3). */
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { postern, serve, type Serving } from '../support/process.ts';
import { startRedis, until, type RedisServer } from '../support/redis-server.ts';
import { PACKAGE_ROOT } from '../support/package-root.ts';
import { temporaryDirectory } from '../support/temporary.ts';

/** Longer than two commands and the start of a server take on a busy machine. */
const MAX_STALENESS_MS = 12_000;

describe('a snapshot on disk', () => {
  let redis: RedisServer;
  let directory: string;
  let file: string;
  const running: Serving[] = [];

  beforeAll(async () => {
    redis = await startRedis(['appendonly yes', 'appendfsync always']);
  });
  beforeEach(() => {
    directory = temporaryDirectory();
    file = join(directory, 'facts.snapshot');
  });
  afterEach(async () => {
    for (const one of running.splice(0)) await one.dispose();
    await redis.kill();
    await redis.restart();
  });
  afterAll(() => redis.dispose());

  const settings = (extra = ''): string =>
    [
      `catalog: ${PACKAGE_ROOT}/config/actions.yaml`,
      `default_roles: ${PACKAGE_ROOT}/config/roles.yaml`,
      `store: ${redis.url}`,
      'grpc: { address: 127.0.0.1:0 }',
      'http: { address: 127.0.0.1:0 }',
      'audit: { sinks: [] }',
      `facts: { snapshot_file: ${file}, snapshot_interval_ms: 200, heartbeat_ms: 200, max_staleness_ms: ${MAX_STALENESS_MS} }`,
      extra,
    ].join('\n');
  const start = async (state: readonly string[] = []): Promise<Serving> => {
    const one = await serve(state, { settings: settings() });
    running.push(one);
    return one;
  };
  const check = async (one: Serving, user: string): Promise<string> => {
    const asked = ['check', user, 'read', 'work.projects.api', '--tenant', 'demo'];
    const { code, stdout, stderr } = await postern(asked, one.environment);
    return `${String(code)} ${stdout}${stderr}`;
  };
  /** A snapshot that knows alice, of a server that is no more. */
  const leave = async (): Promise<void> => {
    const first = await start(['--demo']);
    expect(await check(first, 'alice')).toMatch(/^0 allowed/);
    await until(() => existsSync(file) && readFileSync(file, 'utf8').includes('["users","alice"'));
    // Killed, so that what is on disk is what was written while it ran.
    await first.dispose();
  };

  it('serves what it knows while Redis is away, and follows it once it is back', async () => {
    await leave();
    expect(statSync(file).mode & 0o777).toBe(0o600);
    await redis.kill();
    const second = await start();
    expect(second.stderr()).toContain('is ready');
    expect(await check(second, 'alice')).toMatch(/^0 allowed/);
    // Not in the snapshot: nobody can say who that is.
    expect(await check(second, 'stranger')).toMatch(/^2 .*cannot be guessed/s);
    await redis.restart();
    await until(() => second.stderr().includes('the store answers again'), 5_000);
    expect(await check(second, 'stranger')).toMatch(/^1 denied/);
    expect(await check(second, 'alice')).toMatch(/^0 allowed/);
  });

  it('lets nothing through beyond max_staleness, counted from the last confirmation', async () => {
    await leave();
    await redis.kill();
    const second = await start();
    expect(await check(second, 'alice')).toMatch(/^0 allowed/);
    await new Promise((done) => setTimeout(done, MAX_STALENESS_MS));
    expect(await check(second, 'alice')).toMatch(/^2 .*ms old/s);
    const ready = await fetch(`http://${second.http}/readyz`);
    expect(ready.status).toBe(503);
    await second.dispose();
    const third = await start();
    expect(third.stderr()).toContain('is not ready');
    await until(() => third.stderr().includes('no facts that are recent enough'), 5_000);
    expect(await check(third, 'alice')).toMatch(/^2 /);
  });

  it.each([
    ['a byte is changed', (text: string) => text.replace('"alice"', '"alicf"')],
    ['it is cut short', (text: string) => text.slice(0, text.length / 2)],
    ['it is empty', () => ''],
  ])('is not used where %s', async (_name, spoil) => {
    await leave();
    await redis.kill();
    writeFileSync(file, spoil(readFileSync(file, 'utf8')));
    const second = await start();
    await until(() => second.stderr().includes('is broken: it is not used'), 5_000);
    expect(second.stderr()).toContain('is not ready');
    expect(await check(second, 'alice')).toMatch(/^2 /);
    await redis.restart();
    await until(async () => (await fetch(`http://${second.http}/readyz`)).status === 200, 5_000);
    expect(await check(second, 'alice')).toMatch(/^0 allowed/);
  });
});
