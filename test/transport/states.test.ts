/** Whole states that are large: applied and exported on a thread while decisions go on, and read back whole (ADM-11). */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { postern, serve, type Ran, type Serving } from '../support/process.ts';
import { connectTo, type TestClient } from '../support/server.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const TOKEN = 'operator-0123456789-0123456789';
/** Above what is read as YAML. */
const USERS = 20_000;

function largeState(): string {
  const users = Array.from({ length: USERS }, (_unused, index) => ({
    id: `user-${index}`,
    roles: [`role-${index % 10}`],
    metadata: { note: 'x'.repeat(400) },
  }));
  const roles = Array.from({ length: 10 }, (_unused, index) => ({
    id: `role-${index}`,
    permissions: ['kb:read'],
  }));
  const policySets = Array.from({ length: 20 }, (_unused, set) => ({
    name: `set-${set}`,
    mode: 'enforce',
    rules: Array.from({ length: 200 }, (_ignored, rule) => ({
      id: `r${rule}`,
      effect: 'allow',
      actions: ['graph.search'],
      attributes: { k: [`${set}-${rule}`] },
    })),
  }));
  return JSON.stringify({
    tenant: 'acme',
    users: [{ id: 'alice' }, ...users],
    roles,
    policy_sets: policySets,
  });
}

describe('a large state', () => {
  let server: Serving;
  let decisions: TestClient;
  const directory = temporaryDirectory();
  const run = (...args: string[]): Promise<Ran> =>
    postern(['--tenant', 'acme', ...args], {
      ...server.environment,
      POSTERN_ADMIN_TOKEN: TOKEN,
    });

  beforeAll(async () => {
    const small = join(directory, 'small.yaml');
    writeFileSync(small, 'tenant: acme\nusers: [{ id: alice }]\n');
    writeFileSync(join(directory, 'large.json'), largeState());
    server = await serve(['--state', small], { environment: { POSTERN_ADMIN_TOKEN: TOKEN } });
    decisions = connectTo(server.grpc, { own: true });
  });
  afterAll(async () => {
    decisions.close();
    await server.dispose();
  });

  /** How long Checks wait while something runs, ms, sorted. */
  const waits = async (running: Promise<unknown>): Promise<number[]> => {
    const state = { isOver: false };
    void running.finally(() => (state.isOver = true));
    const found: number[] = [];
    while (!state.isOver) {
      const start = performance.now();
      const asked = { tenant: 'acme', subject: { id: 'alice' }, action: 'graph.search' };
      await decisions.call('Check', asked, 30_000).catch(() => {});
      found.push(performance.now() - start);
      await new Promise((done) => setTimeout(done, 5));
    }
    return found.toSorted((a, b) => a - b);
  };
  const median = (sorted: readonly number[]): number => sorted[sorted.length >> 1] ?? Infinity;

  it('is applied, applied again without a change, exported and applied as it was exported', async () => {
    const file = join(directory, 'large.json');
    const applying = run('apply', '-f', file);
    // Where it was done on the thread of decisions, one Check would have waited all the time.
    expect(median(await waits(applying))).toBeLessThan(250);
    expect((await applying).code).toBe(0);
    const again = run('apply', '-f', file);
    expect(median(await waits(again))).toBeLessThan(250);
    expect((await again).stdout).toContain('nothing changes');

    const exporting = run('export');
    expect(median(await waits(exporting))).toBeLessThan(250);
    const exported = await exporting;
    expect(exported.stderr).toContain('written as JSON, which apply reads too');
    expect(exported.stdout.length).toBeGreaterThan(8 * 1024 * 1024);
    const backup = join(directory, 'backup.yaml');
    writeFileSync(backup, exported.stdout);
    expect((await run('apply', '-f', backup, '--prune')).stdout).toContain('nothing changes');
    // On a store of its own, without a server.
    const restored = { POSTERN_STORE: `embedded:${join(directory, 'restored')}` };
    expect((await postern(['apply', '-f', backup], restored)).code).toBe(0);
    const offline = await postern(['export', '--tenant', 'acme'], restored);
    expect(offline.stdout === exported.stdout).toBe(true);
  }, 240_000);

  it('that is larger than `admin.max_state_bytes` is not exported in part, but refused by that name', async () => {
    const own = await serve(['--state', join(directory, 'small.yaml')], {
      environment: { POSTERN_ADMIN_TOKEN: TOKEN },
      settings: `${readFileSync(join(server.directory, 'postern.yaml'), 'utf8')}admin: { max_state_bytes: 500 }\n`,
    });
    const ran = await postern(['--tenant', 'acme', 'export'], {
      ...own.environment,
      POSTERN_ADMIN_TOKEN: TOKEN,
    });
    expect(ran.stderr).toContain('admin.max_state_bytes');
    expect([ran.code, ran.stdout]).toEqual([1, '']);
    await own.dispose();
  });
});
