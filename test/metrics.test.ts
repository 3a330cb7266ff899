/** What `/metrics` promises: names, labels, values that agree with what was asked, and no growth with who asks. */
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Client, credentials, Metadata } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { settingsSchema } from '../src/config/settings/settings-schema.ts';
import { MANAGEMENT_OPERATIONS } from '../src/management/counted.ts';
import { CREDENTIAL_PROBLEMS } from '../src/engine/credential-problem.ts';
import type { Reason } from '../src/engine/model.ts';
import { mintKey } from '../src/identity/token.ts';
import { openRuntime } from '../src/telemetry/process.ts';
import { createMetrics, type Gauges } from '../src/telemetry/metrics.ts';
import { startServer, type Running } from '../src/server/compose.ts';
import { parseExposition, scrape, seriesIn, type Exposition } from './support/exposition.ts';
import { findPromtool } from './support/promtool.ts';
import { PACKAGE_ROOT } from './support/package-root.ts';
import { methodsOf } from './support/proto.ts';
import { connectTo, type TestClient } from './support/server.ts';
import { temporaryDirectory } from './support/temporary.ts';

const APIS = ['batch_check', 'check', 'check_stream', 'explain', 'ext_authz', 'filter'];
const REASONS: readonly Reason[] = [
  'ALLOWED',
  'ACTION_DENIED',
  'OBJECT_HIDDEN',
  'NO_GRANT',
  'UNKNOWN_ACTION',
  'SUBJECT_INACTIVE',
  'KEY_INVALID',
  'TENANT_MISMATCH',
  'STALE',
  'UNAVAILABLE',
  'HISTORY_LOST',
  'VERSION',
  'RATE_LIMITED',
  'INTERNAL',
];
const OPERATIONS = ['commit', 'feed', 'get', 'heads', 'scan', 'tenants'];

/** The contract: the type of every instrument, and its labels with all values that they may have. */
const CONTRACT: Readonly<
  Record<string, readonly [string, Readonly<Record<string, readonly string[] | RegExp>>]>
> = {
  postern_decisions_total: [
    'counter',
    { api: APIS, allowed: ['false', 'true'], reason: [...REASONS].sort() },
  ],
  postern_decision_duration_seconds: ['histogram', { api: APIS }],
  postern_shadow_disagreements_total: ['counter', { kind: ['newly_allowed', 'newly_denied'] }],
  postern_filter_objects_total: ['counter', { visible: ['false', 'true'] }],
  postern_cache_requests_total: ['counter', { cache: ['facts'], result: ['hit', 'miss'] }],
  postern_cache_entries: ['gauge', { cache: ['keys', 'subjects', 'tenants'] }],
  postern_store_up: ['gauge', {}],
  postern_store_requests_total: ['counter', { op: OPERATIONS, result: ['error', 'ok'] }],
  postern_store_request_duration_seconds: ['histogram', { op: OPERATIONS }],
  postern_feed_lag_seconds: ['gauge', {}],
  postern_feed_resyncs_total: [
    'counter',
    { cause: ['deleted', 'gap', 'rolled_back', 'unreadable', 'version', 'wiped'] },
  ],
  postern_feed_history_lost_total: ['counter', {}],
  postern_history_lost_tenants: ['gauge', {}],
  postern_facts_age_seconds: ['gauge', {}],
  postern_audit_records_total: [
    'counter',
    { sink: ['file'], result: ['dropped', 'spooled', 'written'] },
  ],
  postern_audit_cut_total: ['counter', { sink: ['file'] }],
  postern_audit_rotation_failures_total: ['counter', { sink: ['file'] }],
  postern_audit_trimmed_total: ['counter', { sink: ['file'] }],
  postern_audit_queue_length: ['gauge', { sink: ['file'] }],
  postern_audit_holding: ['gauge', { sink: ['file'] }],
  postern_audit_refusals_total: ['counter', {}],
  postern_tls_certificate_expiry_seconds: ['gauge', {}],
  postern_policy_reload_total: ['counter', { result: ['ok', 'refused'] }],
  postern_policy_reload_widened_total: ['counter', {}],
  postern_management_operations_total: [
    'counter',
    { operation: [...MANAGEMENT_OPERATIONS].sort(), result: ['failed', 'ok', 'refused'] },
  ],
  postern_authentication_failures_total: ['counter', {}],
  postern_credential_problems_total: ['counter', { problem: [...CREDENTIAL_PROBLEMS].sort() }],
  postern_jwks_reads_total: ['counter', { result: ['failed', 'ok'] }],
  postern_rate_limited_total: ['counter', {}],
  postern_overload_refusals_total: ['counter', { cause: ['lag', 'memory'] }],
  postern_cache_sheds_total: ['counter', {}],
  postern_ready: ['gauge', {}],
  postern_workers: ['gauge', {}],
  postern_worker_restarts_total: ['counter', {}],
  postern_build_info: ['gauge', { version: ['test'], node: /^v\d+\.\d+\.\d+$/ }],
  process_cpu_seconds_total: ['counter', {}],
  process_start_time_seconds: ['gauge', {}],
  process_resident_memory_bytes: ['gauge', {}],
  process_open_fds: ['gauge', {}],
  process_max_fds: ['gauge', {}],
  nodejs_heap_size_total_bytes: ['gauge', {}],
  nodejs_heap_size_used_bytes: ['gauge', {}],
  nodejs_external_memory_bytes: ['gauge', {}],
  nodejs_eventloop_lag_mean_seconds: ['gauge', {}],
  nodejs_eventloop_lag_p99_seconds: ['gauge', {}],
  nodejs_eventloop_lag_max_seconds: ['gauge', {}],
};

const CHECK = '/postern.v1.AuthorizationService/Check';
const TOKEN = 'operator-0123456789-0123456789';
const STATE = {
  tenant: 'acme',
  users: [{ id: 'alice' }, { id: 'carl', suspended: true }],
  grants: [{ principal: 'alice', path: 'work', actions: ['read'] }],
  policy_sets: [
    {
      name: 'reads',
      mode: 'enforce',
      rules: [{ id: 'r', effect: 'allow', actions: ['readonly'] }],
    },
    {
      name: 'no-reads',
      mode: 'report_only',
      rules: [{ id: 'n', effect: 'deny', actions: ['read'] }],
    },
  ],
  keys: [
    { id: 'nothing', role: 'default_deny', mode: 'enforce' },
    { id: 'trial', role: 'default_allow', mode: 'enforce', policy_sets: ['no-reads'] },
    {
      id: 'slow',
      role: 'default_deny',
      mode: 'enforce',
      policy_sets: ['reads'],
      rate_limit: { requests: 2, per_seconds: 3_600 },
    },
  ],
};

interface Rig {
  readonly running: Running;
  readonly client: TestClient;
  readonly directory: string;
  readonly catalog: string;
  /** Calls AdminService; resolves with the code. */
  manage(method: string, request: object, token: string): Promise<number>;
  scrape(): Promise<Exposition>;
  close(): Promise<void>;
}

async function start(grpc: object = {}): Promise<Rig> {
  const directory = temporaryDirectory();
  const catalog = join(directory, 'actions.yaml');
  writeFileSync(catalog, readFileSync(join(PACKAGE_ROOT, 'config/actions.yaml')));
  mkdirSync(join(directory, 'migrations'));
  const state = join(directory, 'state.yaml');
  writeFileSync(state, stringify(STATE));
  const settings = settingsSchema.parse({
    catalog,
    default_roles: join(PACKAGE_ROOT, 'config/roles.yaml'),
    migrations: join(directory, 'migrations'),
    store: `embedded:${join(directory, 'store')}`,
    audit: { sinks: [{ type: 'file', path: join(directory, 'audit.jsonl') }] },
    log: { level: 'silent' },
    // A busy machine is late: refusing calls for that is not what is tested here.
    limits: { max_lag_ms: 0 },
    identity: { usage_interval_ms: 0 },
    grpc: { address: '127.0.0.1:0', ...grpc },
    http: { address: '127.0.0.1:0' },
  });
  const running = await startServer({
    settings,
    adminToken: TOKEN,
    states: [state],
    packageRoot: PACKAGE_ROOT,
    version: 'test',
  });
  const client = connectTo(running.addresses.grpc);
  const admin = new Client(running.addresses.grpc, credentials.createInsecure());
  const methods = methodsOf('AdminService');
  return {
    running,
    client,
    directory,
    catalog,
    manage(name, request, token) {
      const method = methods[name] ?? expect.fail(`there is no ${name}`);
      const metadata = new Metadata();
      metadata.set('authorization', `Bearer ${token}`);
      return new Promise((done) =>
        admin.makeUnaryRequest(
          method.path,
          method.requestSerialize,
          (bytes: Buffer) => bytes,
          { tenant: 'acme', ...request },
          metadata,
          (error) => done(error?.code ?? 0),
        ),
      );
    },
    scrape: () => scrape(running.addresses.http),
    async close() {
      client.close();
      admin.close();
      await running.close();
    },
  };
}

const asked = (more: object = {}): object => ({
  tenant: 'acme',
  subject: { id: 'alice' },
  action: 'read',
  resource: { path: 'work' },
  ...more,
});

/** Everything that a question can meet, once or a few times. */
async function askAll({ client }: Rig): Promise<void> {
  await client.call('Check', asked());
  await client.call('BatchCheck', { checks: [asked(), asked({ action: 'write' })] });
  await client.call('Filter', asked({ objects: [{ path: 'work' }, { path: 'other' }] }));
  await client.call('Explain', asked());
  const stream = client.stream();
  const answered = new Promise((done) => stream.once('data', done));
  stream.write(asked());
  await answered;
  stream.end();
}

const alone = (exposition: Exposition): Readonly<Record<string, number>> =>
  Object.fromEntries(seriesIn(exposition));

let rig: Rig;
beforeAll(async () => {
  rig = await start();
});
afterAll(() => rig.close());

describe('the exposition', () => {
  it('has every name of the contract with its type and labels, before anything was asked', async () => {
    const exposition = await rig.scrape();
    const told = Object.fromEntries([...exposition].map(([name, { type }]) => [name, type]));
    const promised = Object.entries(CONTRACT).map(([name, [type]]) => [name, type] as const);
    expect(told).toEqual(Object.fromEntries(promised));
    for (const [name, [, labels]] of Object.entries(CONTRACT)) {
      const samples = exposition.get(name)?.samples ?? [];
      expect(samples, name).not.toEqual([]);
      const names = Object.keys(labels).sort();
      for (const { name: sample, labels: has } of samples) {
        const { le: _bound, ...rest } = has;
        expect(Object.keys(sample.endsWith('_bucket') ? rest : has).sort(), sample).toEqual(names);
      }
      for (const [label, values] of Object.entries(labels)) {
        const found = [...new Set(samples.map((one) => one.labels[label] ?? ''))].sort();
        if (values instanceof RegExp) expect(found.join(), name).toMatch(values);
        else expect(found, `${name}{${label}}`).toEqual(values);
      }
    }
  });

  it('is what Prometheus reads', async ({ skip }) => {
    const promtool = findPromtool();
    if (promtool === undefined) return skip('promtool is missing');
    const response = await fetch(`http://${rig.running.addresses.http}/metrics`);
    expect(promtool.run(['check', 'metrics'], await response.text())).toEqual({
      code: 0,
      output: '',
    });
  });

  it('escapes what a label holds', async () => {
    const metrics = createMetrics({ ...GAUGES, version: 'quote " backslash \\ line\nbreak' });
    const told = parseExposition(await metrics.render()).get('postern_build_info');
    expect(told?.samples[0]?.labels['version']).toBe(String.raw`quote \" backslash \\ line\nbreak`);
  });
});

const GAUGES: Gauges = {
  facts: () => ({
    hits: 0,
    misses: 0,
    subjects: 0,
    keys: 0,
    tenants: 0,
    bytes: 0,
    resyncs: 0,
    historiesLost: 0,
  }),
  factsAgeMs: () => 0,
  storeUp: () => true,
  sinks: [],
  ready: () => true,
  operations: [],
  version: 'test',
};

describe('counters agree with what was asked', () => {
  /** What a piece of work adds to each series; what did not change is left out. */
  const added = async (work: () => Promise<unknown>): Promise<Readonly<Record<string, number>>> => {
    const before = alone(await rig.scrape());
    await work();
    const after = alone(await rig.scrape());
    return Object.fromEntries(
      Object.entries(after)
        .map(([name, value]) => [name, value - (before[name] ?? 0)] as const)
        .filter(([name, value]) => value !== 0 && name.startsWith('postern_')),
    );
  };
  const decided = (api: string, reason: Reason): string =>
    `postern_decisions_total{allowed=${String(reason === 'ALLOWED')},api=${api},reason=${reason}}`;

  it('decisions, by API and reason', async () => {
    const counts = await added(async () => {
      const { client } = rig;
      for (let n = 0; n < 7; n++) await client.call('Check', asked());
      for (let n = 0; n < 3; n++) await client.call('Check', asked({ action: 'write' }));
      await client.call('Check', asked({ subject: { id: 'carl' } }));
      await client.call('Check', asked({ action: 'no.such' }));
      await client.call('Check', asked({ subject: undefined, key_id: 'nothing' }));
      await client.call('BatchCheck', { checks: [asked(), asked({ action: 'write' }), asked()] });
      await client.call('Explain', asked());
      await client.call('Check', asked({ action: '' })).catch(() => 'malformed: no decision');
    });
    expect(counts).toMatchObject({
      [decided('check', 'ALLOWED')]: 7,
      [decided('check', 'NO_GRANT')]: 3,
      [decided('check', 'SUBJECT_INACTIVE')]: 1,
      [decided('check', 'UNKNOWN_ACTION')]: 1,
      [decided('check', 'ACTION_DENIED')]: 1,
      [decided('batch_check', 'ALLOWED')]: 2,
      [decided('batch_check', 'NO_GRANT')]: 1,
      [decided('explain', 'ALLOWED')]: 1,
      'postern_decision_duration_seconds_count{api=check}': 13,
      'postern_decision_duration_seconds_count{api=batch_check}': 3,
    });
    const cached = ['hit', 'miss'].map(
      (result) => counts[`postern_cache_requests_total{cache=facts,result=${result}}`] ?? 0,
    );
    expect(cached.reduce((sum, one) => sum + one)).toBe(17);
  });

  it('objects of a Filter, and what full enforcement would change', async () => {
    const objects = [{ path: 'work.a' }, { path: 'work.b' }, { path: 'other' }];
    expect(await added(() => rig.client.call('Filter', asked({ objects })))).toMatchObject({
      'postern_filter_objects_total{visible=true}': 2,
      'postern_filter_objects_total{visible=false}': 1,
      [decided('filter', 'ALLOWED')]: 1,
    });
    expect(await added(() => rig.client.call('Check', asked({ key_id: 'trial' })))).toMatchObject({
      'postern_shadow_disagreements_total{kind=newly_denied}': 1,
    });
  });

  it('audit records: as many as the file has lines', async () => {
    const lines = (): number =>
      readFileSync(join(rig.directory, 'audit.jsonl'), 'utf8').split('\n').length - 1;
    const told = async (name: string): Promise<number | undefined> =>
      alone(await rig.scrape())[`postern_audit_${name}`];
    for (let n = 0; n < 50; n++) await rig.client.call('Check', asked());
    await expect.poll(() => told('queue_length{sink=file}')).toBe(0);
    expect(await told('records_total{result=written,sink=file}')).toBe(lines());
    expect(lines()).toBeGreaterThanOrEqual(50);
  });

  it('operations of management, refused ones too, and the commits that they made', async () => {
    const counts = await added(async () => {
      expect(await rig.manage('CreateUser', { user: { id: 'dora' } }, TOKEN)).toBe(0);
      expect(await rig.manage('CreateUser', { user: { id: 'dora' } }, TOKEN)).toBe(6);
      expect(await rig.manage('GetUser', { id: 'dora' }, TOKEN)).toBe(0);
    });
    expect(counts).toMatchObject({
      'postern_management_operations_total{operation=user.create,result=ok}': 1,
      'postern_management_operations_total{operation=user.create,result=refused}': 1,
      'postern_store_requests_total{op=commit,result=ok}': 1,
    });
    const operations = Object.keys(counts).filter((name) => name.includes('_management_'));
    expect(operations).toHaveLength(2);
  });

  it('who could not prove who it is, and who asked too often', async () => {
    expect(
      await added(async () => {
        expect(await rig.manage('GetUser', { id: 'dora' }, 'not-the-token')).toBe(16);
        await rig.client.call('Check', asked({ credential: { api_key: 'hunter2' } }));
      }),
    ).toMatchObject({
      'postern_authentication_failures_total{}': 2,
      'postern_credential_problems_total{problem=malformed}': 1,
      [decided('check', 'KEY_INVALID')]: 1,
    });
    expect(
      await added(async () => {
        const api_key = mintKey('acme', 'nobody').token;
        const checks = [asked({ credential: { api_key } }), asked({ key_id: 'trial' })];
        await rig.client.call('BatchCheck', { checks });
        await rig.client.call('Filter', asked({ credential: { api_key }, objects: [{}] }));
        await rig.client.call('Explain', asked({ credential: { bearer_token: 'a.b.c' } }));
      }),
    ).toMatchObject({
      'postern_credential_problems_total{problem=unknown}': 2,
      'postern_credential_problems_total{problem=wrong_issuer}': 1,
    });
    const limited = await added(async () => {
      for (let n = 0; n < 5; n++)
        await rig.client
          .call('Check', asked({ subject: undefined, key_id: 'slow' }))
          .catch(() => 'too often');
    });
    expect(limited).toMatchObject({
      'postern_rate_limited_total{}': 3,
      [decided('check', 'RATE_LIMITED')]: 3,
    });
  });

  it('reloads, good and bad', async () => {
    const counts = await added(async () => {
      expect(rig.running.reload()).toBe(true);
      const good = readFileSync(rig.catalog);
      writeFileSync(rig.catalog, 'actions: 7\n');
      expect(rig.running.reload()).toBe(false);
      writeFileSync(rig.catalog, good);
    });
    expect(counts).toMatchObject({
      'postern_policy_reload_total{result=ok}': 1,
      'postern_policy_reload_total{result=refused}': 1,
    });
  });

  it('the state of the process', async () => {
    const now = alone(await rig.scrape());
    expect(now).toMatchObject({ 'postern_ready{}': 1, 'postern_store_up{}': 1 });
    expect(now['process_resident_memory_bytes{}']).toBeGreaterThan(2 ** 25);
    expect(now['process_start_time_seconds{}']).toBeCloseTo(
      Date.now() / 1_000 - process.uptime(),
      -1,
    );
    // A look at the event loop must have begun before it is kept from turning.
    await new Promise((done) => setTimeout(done, 100));
    const until = performance.now() + 150;
    while (performance.now() < until);
    await new Promise((done) => setTimeout(done, 50));
    const late = alone(await rig.scrape())['nodejs_eventloop_lag_max_seconds{}'] ?? 0;
    expect(late).toBeGreaterThan(0.1);
    expect(late).toBeLessThan(5);
    // Whoever looked may not have got the answer, and is not the only one to look.
    const again = alone(await rig.scrape())['nodejs_eventloop_lag_max_seconds{}'];
    expect(again).toBeGreaterThanOrEqual(late);
  });

  it('the lag of the event loop is over when it was long ago', async () => {
    let now = 0;
    const { readings } = openRuntime(() => now);
    const longest = (): number =>
      readings.find(({ name }) => name === 'nodejs_eventloop_lag_max_seconds')?.value() ?? NaN;
    longest();
    await new Promise((done) => setTimeout(done, 100));
    const until = performance.now() + 150;
    while (performance.now() < until);
    await new Promise((done) => setTimeout(done, 50));
    const stall = longest();
    expect(stall).toBeGreaterThan(0.1);
    now = 61_000;
    expect(longest()).toBeGreaterThanOrEqual(stall);
    now = 130_000;
    expect(longest()).toBeLessThan(stall);
  });
});

describe('a listener whose callers have tokens', () => {
  it('counts those that bring none, or a wrong one', async () => {
    const own = await start({
      callers: [
        { name: 'billing', token_sha256: createHash('sha256').update('t-1').digest('hex') },
      ],
    });
    try {
      const client = new Client(own.running.addresses.grpc, credentials.createInsecure());
      const code = (...tokens: readonly string[]): Promise<number> => {
        const metadata = new Metadata();
        for (const token of tokens) metadata.add('authorization', token);
        const same = (bytes: Buffer): Buffer => bytes;
        return new Promise((done) =>
          client.makeUnaryRequest(CHECK, same, same, Buffer.alloc(0), metadata, (error) =>
            done(error?.code ?? 0),
          ),
        );
      };
      expect(await code('Bearer t-1')).toBe(3);
      for (const tokens of [[], ['Bearer t-2'], ['t-1']]) expect(await code(...tokens)).toBe(16);
      client.close();
      const counts = alone(await own.scrape());
      expect(counts['postern_authentication_failures_total{}']).toBe(3);
    } finally {
      await own.close();
    }
  });
});

describe('who asks makes no series', () => {
  const BATCH = 1_000;
  it('100,000 subjects, keys, actions and tenants leave them as they were', async () => {
    const own = await start();
    try {
      await askAll(own);
      const before = [...seriesIn(await own.scrape()).keys()];
      for (let at = 0; at < 100_000; at += BATCH)
        await own.client.call(
          'BatchCheck',
          {
            checks: Array.from({ length: BATCH }, (_, n) => ({
              id: `request-${at + n}`,
              tenant: n % 10 === 0 ? `tenant-${at + n}` : 'acme',
              subject: { id: `user-${at + n}` },
              action: `thing-${at + n}.read`,
              key_id: n % 3 === 0 ? `key-${at + n}` : '',
              resource: { type: `type-${at + n}`, id: `${at + n}`, path: `a.${at + n}` },
            })),
          },
          60_000,
        );
      const exposition = await own.scrape();
      const after = seriesIn(exposition);
      expect([...after.keys()].filter((name) => !before.includes(name))).toEqual([]);
      expect(after.size).toBe(before.length);
      const all = [...after].filter(
        ([name]) => name.startsWith('postern_decisions_total') && name.includes('api=batch_check'),
      );
      expect(all.reduce((sum, [, value]) => sum + value, 0)).toBe(100_002);
      expect(JSON.stringify([...after.keys()])).not.toMatch(/user-\d|thing-|key-\d|tenant-\d/);
    } finally {
      await own.close();
    }
  }, 120_000);
});
