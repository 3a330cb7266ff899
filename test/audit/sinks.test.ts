/** Sinks under faults: each mode keeps exactly its promise, and what comes back is used again without a restart. */
import { execFile, execFileSync } from 'node:child_process';
import {
  appendFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openFile, type FileOptions } from '../../src/audit/sinks/file.ts';
import {
  abandonedLogs,
  filesOf,
  linesOf,
  rotatedName,
  workerName,
} from '../../src/audit/logs/names.ts';
import { openHttp } from '../../src/audit/sinks/http.ts';
import {
  openSink,
  type Destination,
  type Sink,
  type SinkMode,
} from '../../src/audit/sinks/queue.ts';
import { openRedisSink } from '../../src/audit/sinks/redis.ts';
import { scrape, seriesIn } from '../support/exposition.ts';
import { postern, serve, type Serving } from '../support/process.ts';
import { startRedis, until } from '../support/redis-server.ts';
import { PACKAGE_ROOT } from '../support/package-root.ts';
import { connectTo, type TestClient } from '../support/server.ts';

let directory: string;
const ending: (() => Promise<void> | void)[] = [];
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'postern-sinks-'));
});
afterEach(async () => {
  for (const end of ending.splice(0).toReversed()) await end();
  rmSync(directory, { recursive: true, force: true });
});

const read = {
  tenant: 'demo',
  subject: { id: 'alice' },
  action: 'read',
  resource: { path: 'work' },
};

interface Rig {
  readonly own: Serving;
  readonly client: TestClient;
  /** What a Check ends with: `allowed`, or the code of its error. */
  ask(deadlineMs?: number): Promise<string>;
  series(name: string): Promise<number | undefined>;
  ready(): Promise<{ readonly ready: boolean; readonly checks: Record<string, unknown> }>;
}

async function start(audit: string, more = ''): Promise<Rig> {
  const own = await serve(['--demo'], {
    settings: [
      `catalog: ${PACKAGE_ROOT}/config/actions.yaml`,
      `default_roles: ${PACKAGE_ROOT}/config/roles.yaml`,
      `store: embedded:${join(directory, 'store')}`,
      'grpc: { address: 127.0.0.1:0 }',
      'http: { address: 127.0.0.1:0 }',
      'shutdown: { grace_ms: 2000 }',
      `audit: ${audit}`,
      more,
      '',
    ].join('\n'),
    environment: { POSTERN_ADMIN_TOKEN: 'a-token-of-twenty-four-chars' },
  });
  ending.push(() => own.dispose());
  const client = connectTo(own.grpc);
  ending.push(() => client.close());
  return {
    own,
    client,
    ask: (deadlineMs = 5_000) =>
      client.call('Check', read, deadlineMs).then(
        ({ allowed }) => (allowed === true ? 'allowed' : 'denied'),
        ({ code }: { code: number }) => String(code),
      ),
    series: async (name) => seriesIn(await scrape(own.http)).get(name),
    ready: async () =>
      (await (await fetch(`http://${own.http}/readyz`)).json()) as Awaited<
        ReturnType<Rig['ready']>
      >,
  };
}

/** gRPC's UNAVAILABLE. */
const UNAVAILABLE = '14';

interface Numbered {
  readonly seq: number;
  readonly type: string;
  readonly decision_id: string;
}

async function recordsOf(file: string): Promise<readonly Numbered[]> {
  const records: Numbered[] = [];
  for (const name of await filesOf(file))
    for await (const { text, whole } of linesOf(name)) {
      expect(whole).toBe(true);
      records.push(JSON.parse(text) as Numbered);
    }
  return records;
}

const isDense = (records: readonly Numbered[]): boolean =>
  records.every(({ seq }, index) => seq === index + 1);

/** A file may not grow beyond what it is: a full disk, for this process alone. */
function fill(own: Serving, bytes: number): void {
  execFileSync('prlimit', ['--pid', String(own.child.pid), `--fsize=${bytes}:unlimited`]);
}
const free = (own: Serving): void => {
  execFileSync('prlimit', ['--pid', String(own.child.pid), '--fsize=unlimited:unlimited']);
};

describe('a disk that is full, and then is not', () => {
  it('strict: refuses each kind of answer, changes nothing, is not ready; then all is well, and no record is missing', async () => {
    const file = join(directory, 'audit.jsonl');
    const rig = await start(
      `{ sinks: [{ type: file, path: ${file}, mode: strict, timeout_ms: 300 }] }`,
    );
    expect(await rig.ask()).toBe('allowed');
    fill(rig.own, statSync(file).size + 10);
    expect(await rig.ask()).toBe(UNAVAILABLE);
    // Known to fail: others wait for it to come back, as long as they may.
    const startedAt = performance.now();
    expect(await rig.ask(600)).toMatch(/^(14|4)$/);
    expect(performance.now() - startedAt).toBeLessThan(1_500);
    const others: readonly (readonly [method: string, request: object])[] = [
      ['BatchCheck', { checks: [read] }],
      ['Explain', read],
      ['Filter', { tenant: 'demo', subject: { id: 'alice' }, action: 'read', objects: [] }],
    ];
    // Longer than any call waits: it is refused, it does not hang.
    await Promise.all(
      others.map(([method, request]) =>
        expect(rig.client.call(method, request, 20_000)).rejects.toThrow('UNAVAILABLE'),
      ),
    );
    expect(await rig.ready()).toMatchObject({ ready: false, checks: { audit_open: false } });
    expect(await rig.series('postern_audit_holding{sink=file}')).toBe(1);
    expect(await rig.series('postern_audit_refusals_total{}')).toBeGreaterThan(0);
    const before = await exported(rig.own);
    expect(await manage(rig.own, ['user', 'create', 'eve'])).toContain('nothing was done');
    expect(await exported(rig.own)).toBe(before);

    free(rig.own);
    await until(async () => (await rig.ready()).ready);
    expect(await rig.ask()).toBe('allowed');
    expect(await manage(rig.own, ['user', 'create', 'eve'])).toContain('created');
    expect(await rig.own.stop()).toBe(0);
    const records = await recordsOf(file);
    expect(isDense(records)).toBe(true);
    expect(records.findLast(({ type }) => type !== 'seal')?.type).toBe('management');
    expect(rig.own.stderr()).toContain('EFBIG');
  });

  it('block: answers until its queue is full, slows then, and loses nothing', async () => {
    const file = join(directory, 'audit.jsonl');
    const rig = await start(
      `{ sinks: [{ type: file, path: ${file}, mode: block, buffer_bytes: 3000 }] }`,
    );
    fill(rig.own, 10);
    let answered = 0;
    while ((await rig.ask(300)) === 'allowed') answered++;
    expect(answered).toBeGreaterThan(3);
    expect(answered).toBeLessThan(50);
    // One that waits gets its answer once there is room.
    const waiting = rig.ask(20_000);
    free(rig.own);
    expect(await waiting).toBe('allowed');
    await until(async () => (await rig.ready()).ready);
    expect(await rig.ask()).toBe('allowed');
    await rig.own.stop();
    const records = await recordsOf(file);
    expect(isDense(records)).toBe(true);
    expect(records.length).toBeGreaterThanOrEqual(answered + 1);
  });

  it('drop: answers always; what is counted as dropped is the gap in the numbers', async () => {
    const file = join(directory, 'audit.jsonl');
    const rig = await start(
      `{ sinks: [{ type: file, path: ${file}, mode: drop, buffer_bytes: 3000 }] }`,
    );
    fill(rig.own, 10);
    for (let n = 0; n < 100; n++) expect(await rig.ask()).toBe('allowed');
    expect((await rig.ready()).ready).toBe(true);
    const dropped = await rig.series('postern_audit_records_total{result=dropped,sink=file}');
    expect(dropped).toBeGreaterThan(50);
    free(rig.own);
    await until(
      async () => (await rig.series('postern_audit_queue_length{sink=file}')) === 0,
      20_000,
    );
    for (let n = 0; n < 5; n++) expect(await rig.ask()).toBe('allowed');
    const lost = await rig.series('postern_audit_records_total{result=dropped,sink=file}');
    await rig.own.stop();
    const records = await recordsOf(file);
    const seqs = records.map(({ seq }) => seq);
    // The seal at its end has the last number.
    const seals = records.filter(({ type }) => type === 'seal').length;
    expect(seqs.length - seals).toBeGreaterThanOrEqual(5);
    expect(new Set(seqs).size).toBe(seqs.length);
    expect(Math.max(...seqs) - seqs.length).toBe(lost);
  });
});

/** Runs a management command as the operator; what it says. */
async function manage(own: Serving, args: readonly string[]): Promise<string> {
  const ran = await postern(['--tenant', 'demo', '--address', own.grpc, ...args], {
    POSTERN_ADMIN_TOKEN: 'a-token-of-twenty-four-chars',
  });
  return ran.stdout + ran.stderr;
}

/** The tenant as the store has it, beside a server that may refuse to tell. */
async function exported(own: Serving): Promise<string> {
  // Without a token: from the store itself.
  const ran = await postern(['export', '--tenant', 'demo'], {
    POSTERN_CONFIG: own.environment['POSTERN_CONFIG'] ?? '',
  });
  expect(ran.stderr).toBe('');
  return ran.stdout;
}

describe('a reader that is slow', () => {
  it('strict: no answer before its record is taken; all of them once the reader reads', async () => {
    const pipe = join(directory, 'pipe');
    execFileSync('mkfifo', [pipe]);
    const rig = await start(
      `{ sinks: [{ type: file, path: ${pipe}, mode: strict, timeout_ms: 400 }] }`,
    );
    // Nobody reads: what the pipe holds is taken, and then nothing more.
    let answered = 0;
    while ((await rig.ask(1_000)) === 'allowed' && answered < 2_000) answered++;
    expect(answered).toBeGreaterThan(10);
    expect(answered).toBeLessThan(2_000);
    const reader = outputOf('timeout', ['8', 'cat', pipe]);
    await until(async () => (await rig.ask(1_000)) === 'allowed');
    expect(await rig.own.stop()).toBe(0);
    const records = (await reader)
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as Numbered);
    expect(isDense(records)).toBe(true);
    expect(records.length).toBeGreaterThan(answered);
  });
});

function outputOf(command: string, args: readonly string[]): Promise<string> {
  return new Promise((done) => execFile(command, args, (_error, stdout) => done(stdout)));
}

describe('a reader that never reads', () => {
  it('does not keep the process from ending', async () => {
    const pipe = join(directory, 'pipe');
    execFileSync('mkfifo', [pipe]);
    const rig = await start(
      `{ sinks: [{ type: file, path: ${pipe}, mode: drop }], attributes: true }`,
    );
    for (let n = 0; n < 500; n++) expect(await rig.ask()).toBe('allowed');
    const startedAt = performance.now();
    // What nobody took is lost.
    expect(await rig.own.stop()).toBe(1);
    // `shutdown.grace_ms`, and some.
    expect(performance.now() - startedAt).toBeLessThan(6_000);
    expect(rig.own.stderr()).toContain('audit records were lost');
  });
});

describe('Redis as a sink', () => {
  it('strict: killed, nothing is answered; back, everything stands in the stream once, in order', async () => {
    const redis = await startRedis(['appendonly yes', 'appendfsync always']);
    ending.push(() => redis.dispose());
    const rig = await start(
      `{ sinks: [{ type: redis, url: ${redis.url}, mode: strict, timeout_ms: 500 }] }`,
    );
    const lanes = Array.from({ length: 8 }, async () => {
      let answered = 0;
      for (let n = 0; n < 200; n++) if ((await rig.ask(3_000)) === 'allowed') answered++;
      return answered;
    });
    await new Promise((done) => setTimeout(done, 100));
    await redis.kill();
    expect(await rig.ask(600)).toMatch(/^(14|4)$/);
    await redis.restart();
    const answered = (await Promise.all(lanes)).reduce((sum, n) => sum + n, 0);
    await until(async () => (await rig.ask()) === 'allowed');
    await rig.own.stop();
    const entries = (await redis.command('XRANGE', 'postern:audit', '-', '+')) as [
      string,
      [string, string],
    ][];
    const records = entries.map(([, [name, line]]) => {
      expect(name).toBe('record');
      return JSON.parse(line) as Numbered;
    });
    expect(isDense(records)).toBe(true);
    expect(records.length).toBeGreaterThanOrEqual(answered);
  });

  it('a batch that is sent again is kept once; the stream is trimmed by policy alone', async () => {
    const redis = await startRedis();
    ending.push(() => redis.dispose());
    const full: string[] = [];
    const sink = (maxLength: number, maxAgeMs: number): Destination => {
      const opened = openRedisSink({
        url: redis.url,
        password: undefined,
        tls: {},
        key: 'log',
        maxLength,
        maxAgeMs,
        waitReplicas: 0,
        timeoutMs: 1_000,
        writer: 'w',
        onProblem: (problem) => full.push(problem),
      });
      ending.push(() => opened.close());
      return opened;
    };
    const all = sink(0, 0);
    const lines = Array.from({ length: 500 }, (_, n) => `{"n":${n}}`);
    await all.keep({ id: 1, lines });
    await all.keep({ id: 1, lines });
    expect(await redis.command('XLEN', 'log')).toBe(500);
    await all.keep({ id: 2, lines });
    expect(await redis.command('XLEN', 'log')).toBe(1_000);
    await redis.command('XGROUP', 'CREATE', 'log', 'behind', '0');
    await redis.command('XGROUP', 'CREATE', 'log', 'abreast', '$');
    const trimming = sink(300, 0);
    await trimming.keep({ id: 3, lines: ['{}'] });
    expect(trimming.counts?.().trimmed).toBeGreaterThan(400);
    const kept = Number(await redis.command('XLEN', 'log'));
    expect(kept).toBeGreaterThanOrEqual(300);
    expect(kept).toBeLessThan(600);
    expect(full[0]).toContain('the stream `log` holds max_length (300) records');
    expect(full[0]).toContain('and 1 consumer group(s) had not read them');
    await new Promise((done) => setTimeout(done, 50));
    await sink(0, 1).keep({ id: 4, lines: ['{}'] });
    expect(Number(await redis.command('XLEN', 'log'))).toBeLessThan(kept);
    await expect(
      openRedisSink({
        url: redis.url,
        password: undefined,
        tls: {},
        key: 'log',
        maxLength: 0,
        maxAgeMs: 0,
        waitReplicas: 1,
        timeoutMs: 400,
        writer: 'x',
        onProblem: () => {},
      }).keep({ id: 1, lines: ['{}'] }),
    ).rejects.toThrow('0 replicas');
  });
});

describe('a collector by HTTP', () => {
  it('that takes small bodies only gets a batch in parts, and no secret is told of it', async () => {
    const bodies: string[] = [];
    const server = createServer((request, response) => {
      let body = '';
      request.on('data', (chunk: Buffer) => (body += chunk.toString()));
      request.on('end', () => {
        const fits = body.length <= 1_000;
        if (fits) bodies.push(body);
        response.writeHead(fits ? 200 : 413).end();
      });
    });
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
    ending.push(() => void server.close());
    const { port } = server.address() as AddressInfo;
    const url = `http://127.0.0.1:${port}/audit?token=s3cret`;
    const http = openHttp({ url, authorizationFile: undefined, timeoutMs: 2_000, writer: 'w' });
    const lines = Array.from({ length: 100 }, (_, n) => JSON.stringify({ n, x: 'y'.repeat(50) }));
    await http.keep({ id: 1, lines });
    expect(bodies.join('')).toBe(`${lines.join('\n')}\n`);
    const tooLarge = JSON.stringify({ v: 1, x: 'x'.repeat(2_000) });
    await http.keep({ id: 2, lines: [tooLarge, '{"n":1}'] });
    const [stub = '', last] = bodies.join('').split('\n').slice(100);
    expect(JSON.parse(stub)).toMatchObject({ cut: { bytes: Buffer.byteLength(tooLarge) } });
    expect(last).toBe('{"n":1}');

    const authorizationFile = join(directory, 'token');
    writeFileSync(authorizationFile, 'Bearer s3cret\nsecond line');
    const refused = openHttp({ url, authorizationFile, timeoutMs: 2_000, writer: 'w' });
    const why = await refused.keep({ id: 1, lines }).catch(String);
    expect(why).toContain('is not one line of printable ASCII');
    expect(why).not.toContain('s3cret');
  });

  it('that fails, hangs and comes back gets every record, a batch again under its key', async () => {
    const got: { readonly headers: IncomingHttpHeaders; readonly body: string }[] = [];
    let how: 'fails' | 'hangs' | 'works' = 'fails';
    const server = createServer((request, response) => {
      let body = '';
      request.on('data', (chunk: Buffer) => (body += chunk.toString()));
      request.on('end', () => {
        got.push({ headers: request.headers, body });
        if (how === 'hangs') return;
        response.writeHead(how === 'works' ? 204 : 503).end();
      });
    });
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
    ending.push(() => {
      server.closeAllConnections();
      server.close();
    });
    const { port } = server.address() as AddressInfo;
    const authorizationFile = join(directory, 'token');
    writeFileSync(authorizationFile, 'Bearer secret\n');
    const errors: unknown[] = [];
    const url = `http://127.0.0.1:${port}/audit`;
    const http = openHttp({ url, authorizationFile, timeoutMs: 200, writer: 'i-0' });
    const sink = openSink(http, {
      name: 'http',
      mode: 'strict',
      bufferBytes: 1_000_000,
      timeoutMs: 5_000,
      onError: (error) => errors.push(error),
    });
    const first = sink.write('{"seq":1}');
    await until(() => got.length >= 2);
    how = 'hangs';
    await until(() => errors.some((error) => String(error).includes('Timeout')));
    how = 'works';
    expect(await first).toBe(true);
    await until(() => sink.isOpen());
    expect(await sink.write('{"seq":2}')).toBe(true);
    expect(String(errors[0])).toContain('answers 503');
    expect(got[0]?.headers).toMatchObject({
      'content-type': 'application/x-ndjson',
      authorization: 'Bearer secret',
      'idempotency-key': 'i-0-1',
    });
    expect(new Set(got.slice(0, -1).map(({ body }) => body))).toEqual(new Set(['{"seq":1}\n']));
    expect(got.at(-1)).toMatchObject({
      headers: { 'idempotency-key': 'i-0-2' },
      body: '{"seq":2}\n',
    });
    await sink.close(1_000);
  });
});

describe('several at once', () => {
  it('an answer waits for the strict one alone, and each has every record', async () => {
    const [kept, other] = [join(directory, 'kept.jsonl'), join(directory, 'other.jsonl')];
    const rig = await start(
      `{ sinks: [{ type: file, path: ${kept}, mode: strict }, { type: file, path: ${other} }, { type: stdout }] }`,
    );
    for (let n = 1; n <= 20; n++) {
      expect(await rig.ask()).toBe('allowed');
      expect((await recordsOf(kept)).filter(({ type }) => type !== 'seal').length).toBe(n);
    }
    let printed = '';
    rig.own.child.stdout?.on('data', (chunk: Buffer) => (printed += chunk.toString()));
    const written = await rig.series('postern_audit_records_total{result=written,sink=file}');
    expect(written).toBeGreaterThanOrEqual(20);
    await rig.own.stop();
    expect(readFileSync(other, 'utf8')).toBe(readFileSync(kept, 'utf8'));
    expect(printed).toBe(readFileSync(kept, 'utf8'));
  });
});

const UNBOUNDED = { rotateBytes: 0, rotateMs: 0, keepFiles: 0, keepMs: 0, keepBytes: 0 };

describe('a file', () => {
  const open = (options: Partial<FileOptions>, mode: SinkMode = 'strict'): Sink => {
    const onError = (error: unknown): void => {
      throw error;
    };
    const path = join(directory, 'audit.jsonl');
    const file = openFile({ path, durable: true, ...UNBOUNDED, onError, ...options });
    return openSink(file, { name: 'file', mode, bufferBytes: 1e9, timeoutMs: 5_000, onError });
  };
  const text = (): string => readFileSync(join(directory, 'audit.jsonl'), 'utf8');

  it('is rotated by size, between records, and only so many stay', async () => {
    const sink = open({ rotateBytes: 1_000, keepFiles: 3 });
    const lines = Array.from({ length: 100 }, (_, n) => JSON.stringify({ n, x: 'y'.repeat(90) }));
    for (const line of lines) expect(await sink.write(line)).toBe(true);
    await sink.close(1_000);
    const files = await filesOf(join(directory, 'audit.jsonl'));
    expect(files.length).toBe(4);
    const kept = files.map((name) => readFileSync(name, 'utf8')).join('');
    const all = `${lines.join('\n')}\n`;
    expect(all.endsWith(kept)).toBe(true);
    for (const name of files) expect(statSync(name).size).toBeLessThanOrEqual(1_000);
  });

  it('is rotated by age, and old ones go', async () => {
    const sink = open({ rotateMs: 50, keepBytes: 10 });
    await sink.write('{"n":1}');
    await new Promise((done) => setTimeout(done, 80));
    await sink.write('{"n":2}');
    await new Promise((done) => setTimeout(done, 80));
    await sink.write('{"n":3}');
    await sink.close(1_000);
    expect(text()).toBe('{"n":3}\n');
    expect(readdirSync(directory).length).toBe(2);
  });

  it('is kept as long as any other of its log where its worker is gone', async () => {
    const base = join(directory, 'audit.jsonl');
    const old = (worker: number): readonly string[] => {
      const current = workerName(base, worker);
      return [current, rotatedName(current, new Date(0))];
    };
    const [gone, alive] = [old(3), old(2)];
    const young = workerName(base, 4);
    const other = join(directory, 'audit-worker-3.txt');
    for (const file of [...gone, ...alive, other, base]) {
      writeFileSync(file, '{"n":0}\n');
      utimesSync(file, 0, 0);
    }
    writeFileSync(young, '{"n":0}\n');
    const path = workerName(base, 1);
    const sink = open({ path, keepMs: 60_000, abandoned: () => abandonedLogs(base, 2) });
    expect(await sink.write('{"n":1}')).toBe(true);
    await sink.close(1_000);
    const left = [path, ...alive, young, other].map((file) => basename(file));
    expect(readdirSync(directory).toSorted()).toEqual(left.toSorted());
  });

  it('that somebody else moves away is opened anew', async () => {
    const sink = open({});
    await sink.write('{"n":1}');
    renameSync(join(directory, 'audit.jsonl'), join(directory, 'moved'));
    await new Promise((done) => setTimeout(done, 1_100));
    await sink.write('{"n":2}');
    await sink.close(1_000);
    expect(readFileSync(join(directory, 'moved'), 'utf8')).toBe('{"n":1}\n');
    expect(text()).toBe('{"n":2}\n');
  });

  it('that was removed, or cannot be opened for a while, keeps no promise it cannot keep', async () => {
    const errors: unknown[] = [];
    const path = join(directory, 'log', 'audit.jsonl');
    const onError = (error: unknown): void => void errors.push(error);
    const file = openFile({ path, durable: true, ...UNBOUNDED, onError });
    const options = { name: 'file', mode: 'strict', bufferBytes: 1e6, timeoutMs: 300 } as const;
    const sink = openSink(file, { ...options, onError });
    expect(await sink.write('{"n":1}')).toBe(true);
    // Unlinked: what goes there is gone.
    rmSync(path);
    const second = sink.write('{"n":2}');
    expect(await second).toBe(true);
    expect(readFileSync(path, 'utf8')).toBe('{"n":2}\n');
    // Nothing can be opened there any more.
    rmSync(join(directory, 'log'), { recursive: true });
    writeFileSync(join(directory, 'log'), '');
    expect(await sink.write('{"n":3}')).toBe(false);
    expect(sink.isOpen()).toBe(false);
    rmSync(join(directory, 'log'));
    await until(() => sink.isOpen());
    expect(await sink.write('{"n":4}')).toBe(true);
    await sink.close(1_000);
    expect(readFileSync(path, 'utf8')).toBe('{"n":3}\n{"n":4}\n');
    expect(errors.length).toBeGreaterThan(1);
  });

  it('whose last line a crash cut off goes on with a line of its own', async () => {
    appendFileSync(join(directory, 'audit.jsonl'), '{"n":1}\n{"n":2,"cu');
    const sink = open({});
    await sink.write('{"n":3}');
    await sink.close(1_000);
    expect(text()).toBe('{"n":1}\n{"n":2,"cu\n{"n":3}\n');
  });

  it('is for its owner and group only', async () => {
    const sink = open({});
    await sink.write('{}');
    await sink.close(1_000);
    expect(statSync(join(directory, 'audit.jsonl')).mode & 0o007).toBe(0);
    expect(existsSync(join(directory, 'audit.jsonl'))).toBe(true);
  });
});

describe('a destination that fails', () => {
  const failing = (): {
    readonly tries: number[];
    readonly sink: Sink;
    readonly mend: () => void;
  } => {
    const tries: number[] = [];
    const state = { works: false };
    const destination: Destination = {
      keep: () => {
        tries.push(performance.now());
        return state.works ? Promise.resolve() : Promise.reject(new Error('no'));
      },
      close: () => Promise.resolve(),
    };
    const options = { name: 'x', mode: 'drop', bufferBytes: 1e6, timeoutMs: 500 } as const;
    const sink = openSink(destination, { ...options, onError: () => {} });
    return { tries, sink, mend: () => void (state.works = true) };
  };

  it('is tried less and less often, however much comes', async () => {
    const { tries, sink } = failing();
    for (let n = 0; n < 60; n++) {
      void sink.write('{}');
      await new Promise((done) => setTimeout(done, 25));
    }
    // 0, 100, 300, 700, 1,500 ms, each a quarter sooner or later.
    expect(tries.length).toBeGreaterThan(2);
    expect(tries.length).toBeLessThan(8);
    await sink.close(10);
  });

  it('and is back when the process ends gets what waits, and each record counts once', async () => {
    const { tries, sink, mend } = failing();
    for (let n = 0; n < 10; n++) void sink.write('{}');
    await until(() => tries.length > 3);
    mend();
    await sink.close(1_000);
    expect(sink.stats()).toMatchObject({ written: 10, dropped: 0, queued: 0 });
  });
});

describe('group commit', () => {
  it('keeps what comes while a batch is kept together: far fewer writes than records', async () => {
    let batches = 0;
    const slow: Destination = {
      keep: async () => {
        batches++;
        await new Promise((done) => setTimeout(done, 5));
      },
      close: () => Promise.resolve(),
    };
    const sink = openSink(slow, {
      name: 'slow',
      mode: 'strict',
      bufferBytes: 1e6,
      timeoutMs: 5_000,
      onError: () => {},
    });
    const lanes = Array.from({ length: 50 }, async () => {
      for (let n = 0; n < 20; n++) expect(await sink.write('{}')).toBe(true);
    });
    await Promise.all(lanes);
    expect(sink.stats()).toMatchObject({ written: 1_000, dropped: 0, queued: 0 });
    expect(batches).toBeLessThan(60);
  });
});
