/** A server whose memory runs out gives up its caches, then new calls, and is whole again when there is room. */
import { status, type ServiceError } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { applyState } from '../../src/admin/state/apply-state.ts';
import { settingsSchema } from '../../src/config/settings/settings-schema.ts';
import { openStore } from '../../src/store/registry.ts';
import { defaults } from '../support/admin.ts';
import { scrape, seriesIn } from '../support/exposition.ts';
import { postern, serve, type Serving } from '../support/process.ts';
import { until } from '../support/redis-server.ts';
import { PACKAGE_ROOT } from '../support/package-root.ts';
import { connectTo, type TestClient } from '../support/server.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const MB = 1024 * 1024;
const BOUND = 64 * MB;
const USERS = 1_000;
const ids = Array.from({ length: USERS }, (_, n) => `user-${n}`);
const paths = Array.from({ length: 200 }, (_, n) => `work.project-${n}`);

const read = (id: string): object => ({
  tenant: 'acme',
  subject: { id },
  action: 'read',
  resource: { path: 'work.project-7.x' },
});

let server: Serving;
let client: TestClient;
beforeAll(async () => {
  const address = `embedded:${join(temporaryDirectory(), 'store')}`;
  const { redis } = settingsSchema.parse({});
  const store = await openStore({ address, readTimeoutMs: 5_000, redis, onProblem: () => {} });
  const grants = ids.flatMap((id) =>
    paths.map((path) => ({ principal: `user:${id}`, path, actions: ['read' as const] })),
  );
  const users = ids.map((id) => ({ id }));
  await applyState(store, { tenant: 'acme', users, grants }, defaults, 'test');
  await store.close();
  const settings = stringify({
    catalog: join(PACKAGE_ROOT, 'config/actions.yaml'),
    default_roles: join(PACKAGE_ROOT, 'config/roles.yaml'),
    store: address,
    grpc: { address: '127.0.0.1:0' },
    http: { address: '127.0.0.1:0' },
    audit: { sinks: [] },
    // Room for all users, by the cache's own bound: four times of what there is.
    facts: { cache_bytes: 4 * BOUND },
    // Whatever else this machine has to do.
    limits: { memory_bytes: BOUND, max_lag_ms: 0, max_wait_ms: 12_000 },
  });
  server = await serve([], { settings });
  client = connectTo(server.grpc);
});
afterAll(async () => {
  client?.close();
  await server?.dispose();
});

const sheds = 'postern_cache_sheds_total{}';
const refusals = (cause: string): string => `postern_overload_refusals_total{cause=${cause}}`;
const total = async (series: string): Promise<number | undefined> =>
  seriesIn(await scrape(server.http)).get(series);

describe('memory', () => {
  it('caches that grow beyond the bound are emptied, and every question is answered', async () => {
    for (let round = 0; round < 2; round++)
      for (const id of ids)
        expect(await client.call('Check', read(id))).toMatchObject({ allowed: true });
    await until(async () => ((await total(sheds)) ?? 0) >= 1);
    expect(server.stderr()).toContain('memory runs out: caches were emptied');
    expect(await total(refusals('memory'))).toBe(0);
  });

  it('calls that take all of it are let be, new ones are refused by name, and later answered again', async () => {
    const waiting: Promise<unknown>[] = [];
    for (let call = 0; call < 240; call++) {
      const question = {
        ...read('user-1'),
        min_revision: 1_000_000,
        context: { text: { stringValue: 'x'.repeat(MB / 4) } },
      };
      waiting.push(client.call('Check', question, 12_000).catch((error: unknown) => error));
      // All at once, most of the memory would be taken by what nobody has read yet.
      await new Promise((done) => setTimeout(done, 5));
    }
    await until(() => server.stderr().includes('new calls are refused'));
    const refused = await client.call('Check', read('user-1')).catch((error: unknown) => error);
    expect(refused).toMatchObject({
      code: status.RESOURCE_EXHAUSTED,
      details: expect.stringContaining('limits.memory_bytes') as string,
    });
    expect((await postern(['healthcheck'], server.environment)).code).toBe(0);
    const codes = (await Promise.all(waiting)).map((error) => (error as ServiceError).code);
    // The last of them may have come too late; the others waited to their end, the server's or that of the call.
    const held = codes.filter((code) => code !== status.RESOURCE_EXHAUSTED);
    expect(held.length).toBeGreaterThan(10);
    for (const code of held) expect([status.UNAVAILABLE, status.DEADLINE_EXCEEDED]).toContain(code);
    await until(() => server.stderr().includes('there is memory again'));
    for (const id of ids.slice(0, 10))
      expect(await client.call('Check', read(id))).toMatchObject({ allowed: true });
    expect(await total(refusals('memory'))).toBeGreaterThan(0);
  });
});
