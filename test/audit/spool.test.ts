/** The spool: what a sink cannot deliver before the end is kept for the next start, and sent first; what is lost is told. */
import {
  appendFileSync,
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { workerName } from '../../src/audit/logs/names.ts';
import { openSpool, type Spool } from '../../src/audit/sinks/spool.ts';
import { openVerifier } from '../../src/audit/logs/verify-log.ts';
import { postern, serve, type Serving } from '../support/process.ts';
import { freePort, startRedis } from '../support/redis-server.ts';
import { PACKAGE_ROOT } from '../support/package-root.ts';
import { connectTo } from '../support/server.ts';
import { temporaryDirectory } from '../support/temporary.ts';

let directory: string;
let path: string;
const ending: (() => Promise<unknown> | void)[] = [];
beforeEach(() => {
  directory = temporaryDirectory();
  path = join(directory, 'spool.jsonl');
});
afterEach(async () => {
  for (const end of ending.splice(0).toReversed()) await end();
});

const record = (seq: number, more = ''): string =>
  `{"v":1,"type":"decision","time":"2026-01-01T00:00:00.000Z","instance":"0123456789ab","seq":${seq}${more}}`;
const records = (first: number, last: number): string[] =>
  Array.from({ length: last - first + 1 }, (_, at) => record(first + at));

describe('a spool', () => {
  const open = (maxBytes = 1e6, problems: string[] = []): Spool => {
    const spool = openSpool({ path, maxBytes, onProblem: (problem) => problems.push(problem) });
    ending.push(() => spool.close());
    return spool;
  };
  const drained = async (spool: Spool): Promise<string[]> => {
    const sent: string[] = [];
    await spool.drain((lines) => Promise.resolve(void sent.push(...lines)));
    return sent;
  };

  it('gives back what was left, in order, once; it is for its owner alone', async () => {
    writeFileSync(path, '');
    chmodSync(path, 0o666);
    const spool = open();
    expect(spool.isWaiting()).toBe(false);
    expect(spool.leave(records(1, 3))).toBe(3);
    expect(spool.leave(records(4, 5))).toBe(2);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    const next = open();
    expect(next.isWaiting()).toBe(true);
    expect(await drained(next)).toEqual(records(1, 5));
    expect(next.isWaiting()).toBe(false);
    expect(await drained(open())).toEqual([]);
  });

  it('takes no more than its bound: the first ones', async () => {
    const bytes = record(1).length + 1;
    const spool = open(bytes * 3 + 1);
    expect(spool.leave(records(1, 5))).toBe(3);
    expect(spool.leave(records(6, 6))).toBe(0);
    expect(statSync(path).size).toBe(bytes * 3);
    expect(await drained(open())).toEqual(records(1, 3));
  });

  it('begins again where the process that sent it was killed, and keeps what a failure left', async () => {
    const long = 'x'.repeat(300_000);
    const all = [1, 2, 3, 4, 5].map((seq) => record(seq, `,"x":"${long}"`));
    open(1e7).leave(all);
    const sent: number[] = [];
    let fails = 3;
    const failing = (lines: readonly string[]): Promise<void> => {
      if (--fails === 0) return Promise.reject(new Error('away'));
      sent.push(...lines.map((line) => (JSON.parse(line) as { seq: number }).seq));
      return Promise.resolve();
    };
    const spool = open(1e7);
    await expect(spool.drain(failing)).rejects.toThrow('away');
    expect(sent.length).toBeGreaterThan(0);
    // Killed now, the next begins with the first again.
    expect(await drained(open(1e7))).toEqual(all);
    open(1e7).leave(all);
    // It goes on where it failed.
    fails = 3;
    sent.length = 0;
    const again = open(1e7);
    await expect(again.drain(failing)).rejects.toThrow('away');
    // Ends in order in the middle: what was sent is gone, what is new comes last.
    again.leave([record(6)]);
    const rest = (await drained(open(1e7))).map(
      (line) => (JSON.parse(line) as { seq: number }).seq,
    );
    expect([...sent, ...rest]).toEqual([1, 2, 3, 4, 5, 6]);
  });

  it('passes over what a crash cut off, and says so', async () => {
    open().leave(records(1, 2));
    appendFileSync(path, record(3).slice(0, 40));
    const problems: string[] = [];
    expect(await drained(open(1e6, problems))).toEqual(records(1, 2));
    expect(problems[0]).toContain('40 bytes at its end are no whole record');
    writeFileSync(path, record(3).slice(0, 40));
    open().leave(records(4, 5));
    problems.length = 0;
    expect(await drained(open(1e6, problems))).toEqual(records(4, 5));
    expect(problems[0]).toContain('1 lines are no records');
  });

  it('that is being sent when the end comes loses nothing', async () => {
    open().leave(records(1, 2));
    const spool = open();
    const { promise, resolve } = Promise.withResolvers<void>();
    const draining = spool.drain(() => promise);
    expect(spool.leave([record(3)])).toBe(1);
    resolve();
    await draining;
    expect(await drained(open())).toEqual(records(1, 3));
  });

  it.each(['a link', 'a directory', 'in no directory'])('%s is refused', (what) => {
    if (what === 'a link') {
      writeFileSync(join(directory, 'other'), '');
      symlinkSync(join(directory, 'other'), path);
    } else if (what === 'a directory') mkdirSync(path);
    else path = join(directory, 'nowhere', 'spool.jsonl');
    expect(() => open()).toThrow('audit.sinks.spool_file');
  });
});

const question = { tenant: 'demo', subject: { id: 'alice' }, action: 'read' };

async function start(sink: string, more = ''): Promise<Serving> {
  const own = await serve(['--demo'], {
    settings: [
      `catalog: ${PACKAGE_ROOT}/config/actions.yaml`,
      `default_roles: ${PACKAGE_ROOT}/config/roles.yaml`,
      `store: embedded:${join(directory, 'store')}`,
      'grpc: { address: 127.0.0.1:0 }',
      'http: { address: 127.0.0.1:0 }',
      'shutdown: { grace_ms: 800 }',
      `audit: { sinks: [${sink}] }`,
      more,
      '',
    ].join('\n'),
  });
  ending.push(() => own.dispose());
  return own;
}

async function ask(own: Serving, times: number): Promise<void> {
  const client = connectTo(own.grpc, { own: true });
  for (let n = 0; n < times; n++) await client.call('Check', question);
  client.close();
}

interface Told {
  readonly type: string;
  readonly instance: string;
  readonly seq: number;
}

const parsed = (lines: readonly string[]): Told[] => lines.map((line) => JSON.parse(line) as Told);

/** A collector that comes back. */
async function collectorAt(port: number): Promise<string[]> {
  const taken: string[] = [];
  const server = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk: Buffer) => (body += chunk.toString()));
    request.on('end', () => {
      taken.push(...body.trimEnd().split('\n'));
      response.writeHead(204).end();
    });
  });
  await new Promise<void>((done) => server.listen(port, '127.0.0.1', done));
  ending.push(() => {
    server.closeAllConnections();
    server.close();
  });
  return taken;
}

describe.each(['drop', 'block'])('a collector that is dead at SIGTERM, mode %s', (mode) => {
  it('loses records without a spool: the exit code is not 0, and the count is told', async () => {
    const port = await freePort();
    const own = await start(`{ type: http, url: 'http://127.0.0.1:${port}/', mode: ${mode} }`);
    await ask(own, 30);
    own.child.kill('SIGTERM');
    expect(await own.stop()).toBe(1);
    // With their seals.
    expect(own.stderr()).toMatch(/"sink":"http","dropped":3[1-5],"msg":"audit records were lost"/);
  });

  it('has them in the spool; the next start sends them first, in order, and then its own', async () => {
    const port = await freePort();
    const sink = `{ type: http, url: 'http://127.0.0.1:${port}/', mode: ${mode}, spool_file: ${path} }`;
    const first = await start(sink);
    await ask(first, 30);
    expect(await first.stop()).toBe(0);
    expect(first.stderr()).toContain('audit records wait in the spool for the next start');
    expect(statSync(path).mode & 0o777).toBe(0o600);
    const spooled = readFileSync(path, 'utf8').trimEnd().split('\n');
    expect(parsed(spooled).filter(({ type }) => type === 'decision')).toHaveLength(30);

    // Away a second time: what is new comes behind.
    const second = await start(sink);
    await ask(second, 5);
    expect(await second.stop()).toBe(0);
    const both = readFileSync(path, 'utf8').trimEnd().split('\n');
    expect(both.slice(0, spooled.length)).toEqual(spooled);
    expect(
      parsed(both.slice(spooled.length)).filter(({ type }) => type === 'decision'),
    ).toHaveLength(5);

    const taken = await collectorAt(port);
    const third = await start(sink);
    // Before anybody asks.
    await expect.poll(() => taken.length, { timeout: 20_000 }).toBe(both.length);
    await ask(third, 3);
    expect(await third.stop()).toBe(0);
    expect(taken.slice(0, both.length)).toEqual(both);
    expect(readFileSync(path, 'utf8')).toBe('');
    const verifier = openVerifier({
      chainKey: undefined,
      complete: true,
      requireSeals: true,
      shapeProblem: () => undefined,
    });
    for (const text of taken) verifier.take({ text, where: '', whole: true });
    const report = verifier.end();
    expect(report.findings).toEqual([]);
    expect(report.instances).toHaveLength(3);
  });
});

describe('a collector that hangs at SIGTERM', () => {
  it('keeps the process no longer than its time; the records are in the spool', async () => {
    const server = createServer(() => {
      // It takes the request, and never answers.
    });
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
    ending.push(() => {
      server.closeAllConnections();
      server.close();
    });
    const { port } = server.address() as { port: number };
    const own = await start(
      `{ type: http, url: 'http://127.0.0.1:${port}/', timeout_ms: 30000, spool_file: ${path} }`,
    );
    await ask(own, 10);
    const code = await own.stop();
    expect(code, own.stderr()).toBe(0);
    const spooled = parsed(readFileSync(path, 'utf8').trimEnd().split('\n'));
    expect(spooled.filter(({ type }) => type === 'decision')).toHaveLength(10);
  });
});

describe('a Redis that is dead at SIGTERM', () => {
  it('gets the records at the next start', async () => {
    const redis = await startRedis();
    ending.push(() => redis.dispose());
    const sink = `{ type: redis, url: '${redis.url}', key: log, timeout_ms: 200, spool_file: ${path} }`;
    const first = await start(sink);
    await ask(first, 3);
    await expect.poll(() => redis.command('XLEN', 'log'), { timeout: 10_000 }).toBeGreaterThan(2);
    await redis.kill();
    await ask(first, 20);
    const code = await first.stop();
    expect(code, first.stderr()).toBe(0);
    const spooled = readFileSync(path, 'utf8').trimEnd().split('\n');
    expect(parsed(spooled).filter(({ type }) => type === 'decision')).toHaveLength(20);
    await redis.restart();
    const second = await start(sink);
    await expect.poll(() => redis.command('XLEN', 'log'), { timeout: 10_000 }).toBe(spooled.length);
    expect(await second.stop()).toBe(0);
    // An entry is `[id, ['record', line]]`.
    const entries = (await redis.command('XRANGE', 'log', '-', '+')) as [
      string,
      [string, string],
    ][];
    expect(entries.map(([, [, line]]) => line)).toEqual(spooled);
  });
});

describe('workers', () => {
  it('have a spool each; one that takes their place sends all of them', async () => {
    const port = await freePort();
    const sink = `{ type: http, url: 'http://127.0.0.1:${port}/', spool_file: ${path} }`;
    const both = await start(sink, 'workers: 2');
    for (let n = 0; n < 4; n++) await ask(both, 5);
    expect(await both.stop()).toBe(0);
    const names = [1, 2].map((worker) => workerName(path, worker));
    const spooled = names.flatMap((name) => readFileSync(name, 'utf8').trimEnd().split('\n'));
    expect(parsed(spooled).filter(({ type }) => type === 'decision')).toHaveLength(20);
    const taken = await collectorAt(port);
    const alone = await start(sink);
    await expect.poll(() => taken.length, { timeout: 20_000 }).toBe(spooled.length);
    expect(await alone.stop()).toBe(0);
    expect([...taken].sort()).toEqual([...spooled].sort());
    expect(names.map((name) => existsSync(name))).toEqual([false, false]);
  });

  it('that lose records end the whole with another code than 0', async () => {
    const port = await freePort();
    const own = await start(`{ type: http, url: 'http://127.0.0.1:${port}/' }`, 'workers: 2');
    await ask(own, 5);
    expect(await own.stop()).toBe(1);
  });
});

describe('a spool that is too small', () => {
  it('keeps the first records; the others are counted, and the exit code tells', async () => {
    const port = await freePort();
    const own = await start(
      `{ type: http, url: 'http://127.0.0.1:${port}/', spool_file: ${path}, spool_bytes: 2000 }`,
    );
    await ask(own, 30);
    expect(await own.stop()).toBe(1);
    const kept = parsed(readFileSync(path, 'utf8').trimEnd().split('\n'));
    expect(kept.map(({ seq }) => seq)).toEqual(kept.map((_, at) => at + 1));
    const [, lost] = /"dropped":(\d+)/.exec(own.stderr()) ?? [];
    expect(kept.length + Number(lost)).toBeGreaterThan(30);
  });
});

describe('settings', () => {
  it.each([
    [`{ type: file, path: a.jsonl, spool_file: b }`, 'spool_file'],
    [`{ type: http, url: 'http://127.0.0.1:1/', spool_file: /proc/nope/spool }`, 'spool_file'],
    [
      `{ type: file, path: a.jsonl }, { type: http, url: 'http://127.0.0.1:1/', spool_file: a.jsonl }`,
      'is used by another sink',
    ],
  ])('%s refuse the start', async (sinks, message) => {
    const config = join(directory, 'postern.yaml');
    writeFileSync(
      config,
      `catalog: ${PACKAGE_ROOT}/config/actions.yaml\ndefault_roles: ${PACKAGE_ROOT}/config/roles.yaml\nstore: embedded:store\naudit: { sinks: [${sinks}] }\n`,
    );
    const ran = await postern(['serve', '--config', config]);
    expect(ran.code).not.toBe(0);
    expect(ran.stderr).toContain(message);
  });
});
