/** `workers: N`: several processes on one address, watched over by another, look like one server from outside. */
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { scrape, seriesIn } from '../support/exposition.ts';
import { launch, postern, serve, type Serving } from '../support/process.ts';
import { until } from '../support/redis-server.ts';
import { PACKAGE_ROOT } from '../support/package-root.ts';
import { connectTo, type Answer } from '../support/server.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const TOKEN = 'operator-0123456789-0123456789';
const ALLOWED = 'postern_decisions_total{allowed=true,api=check,reason=ALLOWED}';
const READ = {
  tenant: 'demo',
  subject: { id: 'alice' },
  action: 'read',
  resource: { path: 'work' },
};

const settings = (more: object): string =>
  stringify({
    catalog: join(PACKAGE_ROOT, 'config/actions.yaml'),
    default_roles: join(PACKAGE_ROOT, 'config/roles.yaml'),
    store: 'embedded:store',
    workers: 2,
    grpc: { address: '127.0.0.1:0' },
    http: { address: '127.0.0.1:0' },
    audit: { sinks: [{ type: 'file', path: 'audit.jsonl' }] },
    ...more,
  });

const start = (more: object = {}): Promise<Serving> =>
  serve(['--demo'], { settings: settings(more), environment: { POSTERN_ADMIN_TOKEN: TOKEN } });

/** The processes that a server has started and that live; of none, `ps` makes an error. */
const workersOf = ({ child }: Serving): readonly number[] => {
  const { stdout } = spawnSync('ps', ['--ppid', String(child.pid), '-o', 'pid='], {
    encoding: 'utf8',
  });
  return (stdout.match(/\d+/g) ?? []).map(Number);
};

/** Questions on connections of their own, which go to the workers in turn. */
async function ask(grpc: string, times: number, request: object = READ): Promise<Answer[]> {
  const answers: Answer[] = [];
  for (let n = 0; n < times; n++) {
    const client = connectTo(grpc, { own: true });
    answers.push(await client.call('Check', request));
    client.close();
  }
  return answers;
}

const instanceOf = ({ decision_id: id }: Answer): string => String(id).split('-')[0] ?? '';
const total = async (server: Serving, series: string): Promise<number> =>
  seriesIn(await scrape(server.http)).get(series) ?? NaN;
const readyz = async ({ http }: Serving): Promise<{ status: number; body: unknown }> => {
  const answer = await fetch(`http://${http}/readyz`);
  return { status: answer.status, body: await answer.json() };
};
const isReady = async (server: Serving): Promise<boolean> => (await readyz(server)).status === 200;

describe('two workers', () => {
  let server: Serving;
  beforeAll(async () => {
    server = await start();
  });
  afterAll(() => server?.dispose());

  it('answer in turn on one address, each with an audit log of its own', async () => {
    const answers = await ask(server.grpc, 20);
    expect(answers.every(({ allowed }) => allowed === true)).toBe(true);
    const instances = answers.map(instanceOf);
    expect(new Set(instances).size).toBe(2);
    for (const instance of new Set(instances))
      expect(instances.filter((one) => one === instance)).toHaveLength(10);
    const logs = [1, 2].map((worker) => {
      const file = join(server.directory, `audit-worker-${worker}.jsonl`);
      return () =>
        readFileSync(file, 'utf8')
          .split('\n')
          .filter(Boolean)
          .map((line) => JSON.parse(line) as { type: string; instance: string; seq: number });
    });
    for (const records of logs) {
      await until(() => records().filter(({ type }) => type === 'decision').length === 10);
      expect(records().map(({ seq }) => seq)).toEqual(records().map((_, n) => n + 1));
      expect(new Set(records().map(({ instance }) => instance)).size).toBe(1);
    }
  });

  it('are ready and counted as one', async () => {
    expect(await readyz(server)).toEqual({
      status: 200,
      body: {
        ready: true,
        checks: {
          workers: '2 of 2 are ready',
          serving: true,
          facts_fresh: true,
          store_answers: true,
          audit_open: true,
        },
      },
    });
    expect((await postern(['healthcheck'], server.environment)).code).toBe(0);
    const before = await total(server, ALLOWED);
    await ask(server.grpc, 6);
    const exposition = await scrape(server.http);
    const series = seriesIn(exposition);
    expect(series.get(ALLOWED)).toBe(before + 6);
    expect(series.get('postern_decision_duration_seconds_count{api=check}')).toBe(before + 6);
    expect(series.get('postern_workers{}')).toBe(2);
    expect(series.get('postern_ready{}')).toBe(1);
    expect(series.get('postern_store_up{}')).toBe(1);
    expect(exposition.get('postern_build_info')?.samples.map(({ value }) => value)).toEqual([1]);
    // More than one process can have.
    expect(series.get('process_resident_memory_bytes{}')).toBeGreaterThan(100 * 1024 * 1024);
  });

  it('what one commits, the other decides by', async () => {
    const own = { ...server.environment, POSTERN_TOKEN: TOKEN, POSTERN_TENANT: 'demo' };
    const path = 'work.shared';
    const asked = { ...READ, subject: { id: 'nobody' }, resource: { path } };
    expect((await postern(['user', 'create', 'nobody'], own)).code).toBe(0);
    for (let n = 0; n < 4; n++)
      expect((await postern(['grant', 'create', 'nobody', path, 'read'], own)).code).toBe(0);
    await until(async () =>
      (await ask(server.grpc, 4, asked)).every((one) => one['allowed'] === true),
    );
    expect((await postern(['grant', 'revoke', 'nobody', path], own)).code).toBe(0);
    await until(async () =>
      (await ask(server.grpc, 4, asked)).every((one) => one['allowed'] === false),
    );
  });

  it('one that is killed is told, missed by readiness, started again, and what it counted stays', async () => {
    await ask(server.grpc, 4);
    const before = await total(server, ALLOWED);
    const [victim = 0, other] = workersOf(server);
    process.kill(victim, 'SIGKILL');
    await until(async () => !(await isReady(server)));
    expect((await ask(server.grpc, 4)).every(({ allowed }) => allowed === true)).toBe(true);
    expect(await total(server, ALLOWED)).toBe(before + 4);
    await until(() => isReady(server));
    expect(server.stderr()).toContain(
      '"signal":"SIGKILL","again_in_ms":100,"msg":"a worker has ended"',
    );
    expect(workersOf(server)).toHaveLength(2);
    expect(workersOf(server)).toContain(other);
    expect(new Set((await ask(server.grpc, 8)).map(instanceOf)).size).toBe(2);
    expect(await total(server, ALLOWED)).toBe(before + 12);
    expect(await total(server, 'postern_worker_restarts_total{}')).toBe(1);
  });

  it('one that hangs makes it not ready, and metrics fail instead of going back', async () => {
    const [hung = 0] = workersOf(server);
    process.kill(hung, 'SIGSTOP');
    expect(await readyz(server)).toMatchObject({
      status: 503,
      body: { checks: { workers: '1 of 2 are ready' } },
    });
    expect((await fetch(`http://${server.http}/metrics`)).status).toBe(500);
    process.kill(hung, 'SIGCONT');
    await until(() => isReady(server));
    expect((await fetch(`http://${server.http}/metrics`)).status).toBe(200);
  });

  it('SIGTERM under load: all drain, every answer is recorded, exit 0', async () => {
    let answered = 0;
    const clients = Array.from({ length: 8 }, () => connectTo(server.grpc, { own: true }));
    const before = await total(server, ALLOWED);
    const load = clients.map(async (client) => {
      try {
        for (;;) {
          await client.call('Check', READ, 2_000);
          answered++;
        }
      } catch (error) {
        // After GOAWAY there is nobody to connect to.
        expect((error as { code: number }).code).toBe(14);
      }
    });
    await until(() => answered > 500);
    const workers = workersOf(server);
    expect(await server.stop()).toBe(0);
    await Promise.all(load);
    for (const client of clients) client.close();
    for (const pid of workers) expect(() => process.kill(pid, 0)).toThrow('ESRCH');
    const lines = [1, 2].flatMap((worker) =>
      readFileSync(join(server.directory, `audit-worker-${worker}.jsonl`), 'utf8')
        .split('\n')
        .filter((line) => line.includes('"allowed":true')),
    );
    expect(lines.length).toBeGreaterThanOrEqual(before + answered);
  });
});

describe('workers', () => {
  it('share unix sockets, and stdout line by line, however long a line is', async () => {
    const directory = temporaryDirectory();
    const file = join(directory, 'postern.yaml');
    const grpc = `unix:${directory}/g.sock`;
    const http = `unix:${directory}/h.sock`;
    writeFileSync(
      file,
      settings({
        grpc: { address: grpc, socket_mode: '0600' },
        http: { address: http },
        audit: { sinks: [{ type: 'stdout' }], attributes: true },
      }),
    );
    const child = launch(['serve', '--demo', '--config', file], {});
    let stdout = '';
    child.stdout?.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
    const ended = new Promise<number | null>((done) => child.on('exit', done));
    const healthcheck = () => postern(['healthcheck', '--http', http]);
    await until(async () => (await healthcheck()).code === 0);
    const long = { ...READ, context: { text: { stringValue: 'x'.repeat(100_000) } } };
    const clients = Array.from({ length: 4 }, () => connectTo(grpc, { own: true }));
    await Promise.all(
      clients.flatMap((client) => Array.from({ length: 50 }, () => client.call('Check', long))),
    );
    for (const client of clients) client.close();
    child.kill('SIGTERM');
    expect(await ended).toBe(0);
    const records = stdout
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line) as { type: string; instance: string })
      .filter(({ type }) => type !== 'seal');
    expect(records).toHaveLength(200);
    expect(new Set(records.map(({ instance }) => instance)).size).toBe(2);
  });

  it('all read the catalog again on SIGHUP', async () => {
    const catalog = join(temporaryDirectory(), 'actions.yaml');
    const text = readFileSync(join(PACKAGE_ROOT, 'config/actions.yaml'), 'utf8');
    const action = 'actions:\n  - { name: a.c, readonly: true, permission: "kb:read" }\n';
    writeFileSync(catalog, text);
    const server = await start({ catalog });
    const reasons = async (): Promise<readonly unknown[]> =>
      (await ask(server.grpc, 4, { ...READ, subject: { id: 'root' }, action: 'a.c' })).map(
        ({ reason }) => reason,
      );
    expect(new Set(await reasons())).toEqual(new Set(['REASON_UNKNOWN_ACTION']));
    writeFileSync(catalog, text.replace('actions:\n', action));
    server.child.kill('SIGHUP');
    await until(async () => (await reasons()).every((reason) => reason === 'REASON_ALLOWED'));
    expect(await server.stop()).toBe(0);
    await server.dispose();
  });

  it('one that ends again and again ends them all, with an error', async () => {
    const server = await start();
    const ended = new Promise<number | null>((done) => server.child.on('exit', done));
    const kill = setInterval(() => {
      const [, newest = 0] = workersOf(server);
      try {
        if (newest > 0) process.kill(newest, 'SIGKILL');
      } catch {
        // It has just been killed, and ended before this look.
      }
    }, 20);
    await until(() => server.stderr().includes('a worker ends again and again'));
    clearInterval(kill);
    expect(await ended).toBe(1);
    await server.dispose();
  });

  it('die with the process that started them', async () => {
    const server = await start();
    const workers = workersOf(server);
    expect(workers).toHaveLength(2);
    await server.stop('SIGKILL');
    const alive = (pid: number): boolean => {
      try {
        return process.kill(pid, 0);
      } catch {
        return false;
      }
    };
    await until(() => !workers.some(alive));
    await server.dispose();
  });

  it.each([
    [{ catalog: '/nowhere.yaml' }, 2, '/nowhere.yaml:1:1: cannot be read'],
    [{ workers: 0 }, 2, 'workers: `0` is too small'],
    [
      { audit: { sinks: [{ type: 'stdout', mode: 'strict' }] } },
      2,
      'audit.sinks[0].mode: `strict` on stdout needs `workers: 1`',
    ],
  ])('do not start with %j, and say so once', async (more, code, text) => {
    const file = join(temporaryDirectory(), 'postern.yaml');
    writeFileSync(file, settings(more));
    const ran = await postern(['serve', '--config', file]);
    expect(ran.stderr.split(text)).toHaveLength(2);
    expect(ran.code).toBe(code);
  });
});
