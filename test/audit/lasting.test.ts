/** Sinks that nothing stops for good: files that cannot be rotated, records that are too large, servers that start over and over. */
import { appendFileSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { cutDown } from '../../src/audit/record/cut.ts';
import { openFile, type FileOptions } from '../../src/audit/sinks/file.ts';
import { rotatedName } from '../../src/audit/logs/names.ts';
import { openHttp } from '../../src/audit/sinks/http.ts';
import { openLog } from '../../src/audit/log.ts';
import { openSink, type Destination } from '../../src/audit/sinks/queue.ts';
import { openRedisSink } from '../../src/audit/sinks/redis.ts';
import { recordSchema } from '../../src/audit/record/schema.ts';
import { recordDigest } from '../../src/audit/seals/seal.ts';
import { openVerifier } from '../../src/audit/logs/verify-log.ts';
import { openRecorder } from '../support/audit-records.ts';
import { startRedis } from '../support/redis-server.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const ending: (() => Promise<unknown> | void)[] = [];
afterEach(async () => {
  for (const end of ending.splice(0).toReversed()) await end();
});

const UNBOUNDED = { rotateBytes: 0, rotateMs: 0, keepFiles: 0, keepMs: 0, keepBytes: 0 };
const HOUR_MS = 3_600_000;

function fileAt(path: string, options: Partial<FileOptions>, errors: string[] = []): Destination {
  const onError = (error: unknown): void => void errors.push(String(error));
  const file = openFile({ path, durable: true, ...UNBOUNDED, onError, ...options });
  ending.push(() => file.close());
  return file;
}

/** A record that a caller makes large: a Filter of many objects. */
const large = (objects: number): string =>
  openRecorder().decision({
    api: 'filter',
    objects: {
      items: Array.from({ length: objects }, (_, at) => ({
        type: 'kb',
        id: `kb-${at}`,
        path: undefined,
        attributes: new Map([['text', ['\u0001'.repeat(400)]]]),
        sources: [],
      })),
      offset: 0,
      limit: 0,
      visible: Array.from({ length: objects }, (_, at) => at),
      shadowHidden: 0,
      shadowShown: 0,
    },
  });

describe('a file that cannot be rotated', () => {
  // The name of a rotated file would be longer than a name may be.
  it('is appended to, by size and by age; that is told and counted', async () => {
    const path = join(temporaryDirectory(), `${'a'.repeat(244)}.jsonl`);
    const errors: string[] = [];
    const file = fileAt(path, { rotateBytes: 500, rotateMs: 1 }, errors);
    const lines = Array.from({ length: 20 }, (_, n) => JSON.stringify({ n, x: 'y'.repeat(90) }));
    for (const [at, line] of lines.entries()) await file.keep({ id: at + 1, lines: [line] });
    expect(readFileSync(path, 'utf8')).toBe(`${lines.join('\n')}\n`);
    // Once: it is tried again after a minute, not with each batch.
    expect(errors).toHaveLength(1);
    expect(errors[0]).toContain('cannot be rotated: records are appended to it');
    expect(file.counts?.()).toEqual({ rotation_failures: 1 });
  });
});

describe('a server that starts over and over', () => {
  it('neither rotates nor removes anything, whatever the file system tells of birth', async () => {
    const directory = temporaryDirectory();
    const path = join(directory, 'audit.jsonl');
    const old = rotatedName(path, new Date(1_000));
    writeFileSync(old, 'old\n');
    for (let start = 1; start <= 5; start++) {
      const file = fileAt(path, { rotateMs: HOUR_MS, keepFiles: 1 });
      await file.keep({ id: 1, lines: [openRecorder().decision()] });
    }
    expect(readdirSync(directory).sort()).toEqual(
      [old, path].map((name) => name.slice(directory.length + 1)).sort(),
    );
  });

  it.each([
    ['of two hours ago is rotated', -2 * HOUR_MS, true],
    ['of a moment ago is not', -1_000, false],
    ['of a clock that was wrong is not', 24 * HOUR_MS, false],
  ])('finds the age of a file by its first record: one %s', async (_what, offset, rotated) => {
    const directory = temporaryDirectory();
    const path = join(directory, 'audit.jsonl');
    const time = new Date(Date.now() + offset);
    writeFileSync(path, `{"v":1,"cut off\n${openRecorder().decision({ time })}\n`);
    const file = fileAt(path, { rotateMs: HOUR_MS });
    await file.keep({ id: 1, lines: ['{}'] });
    expect(readdirSync(directory)).toHaveLength(rotated ? 2 : 1);
  });

  it('does not rotate a file that tells no time', async () => {
    const directory = temporaryDirectory();
    const path = join(directory, 'audit.jsonl');
    appendFileSync(path, 'nothing\n');
    await fileAt(path, { rotateMs: HOUR_MS }).keep({ id: 1, lines: ['{}'] });
    expect(readdirSync(directory)).toEqual(['audit.jsonl']);
  });
});

describe('a record that is too large', () => {
  it('is cut down to a stub that is a record, and says what it had', () => {
    const line = large(1_000);
    expect(Buffer.byteLength(line)).toBeGreaterThan(2_000_000);
    const stub = cutDown(line, 4_096);
    expect(Buffer.byteLength(stub)).toBeLessThan(4_096);
    const record = recordSchema.parse(JSON.parse(stub));
    expect(record).toMatchObject({
      type: 'decision',
      subject: 'user:alice',
      allowed: true,
      objects: { total: 1_000, visible: 1_000 },
      omitted: ['objects.items', 'objects.visible_indexes'],
      cut: { bytes: Buffer.byteLength(line), digest: recordDigest(line) },
    });
  });

  it('keeps what there is room for', () => {
    const line = large(100);
    const stub = cutDown(line, 20_000);
    expect(JSON.parse(stub)).toMatchObject({ omitted: ['objects.items'] });
    expect(stub).toContain('"visible_indexes":[0,1,');
  });

  it('is cut where its own texts are what is large, of management too', () => {
    const decision = cutDown(openRecorder().decision({ action: 'é'.repeat(9_000) }), 4_096);
    expect(JSON.parse(decision)).toMatchObject({ omitted: ['action'] });
    const value = { text: 'x'.repeat(100_000) };
    const management = cutDown(
      openRecorder().management({
        changes: [{ kind: 'user', id: 'alice', before: value, after: value }],
      }),
      4_096,
    );
    for (const stub of [decision, management]) {
      expect(Buffer.byteLength(stub)).toBeLessThan(4_096);
      expect(recordSchema.safeParse(JSON.parse(stub)).error).toBeUndefined();
    }
    expect(cutDown('no record', 4_096)).toContain('"cut"');
  });

  it('is told and proven by its seal; a stub of another record is not', async () => {
    const lines: string[] = [];
    const destination: Destination = {
      keep: ({ lines: kept }) => Promise.resolve(void lines.push(...kept)),
      close: () => Promise.resolve(),
    };
    const sink = openSink(destination, {
      name: 'x',
      mode: 'drop',
      bufferBytes: 1e8,
      maxRecordBytes: 16_384,
      timeoutMs: 1_000,
      onError: () => {},
    });
    const log = openLog('0123456789ab', [sink], 1, { key: undefined, records: 10, ms: 60_000 });
    const whole = large(200);
    for (let n = 0; n < 3; n++)
      void log.write((seq, salt) => whole.replace('"seq":1,', `"seq":${seq},"salt":"${salt}",`));
    await log.close(1_000);
    expect(sink.stats().counts.cut).toBe(3);
    const verify = (all: readonly string[]) => {
      const verifier = openVerifier({
        chainKey: undefined,
        complete: true,
        expectedCut: 3,
        shapeProblem: () => undefined,
      });
      for (const text of all) verifier.take({ text, where: '', whole: true });
      return verifier.end();
    };
    expect(verify(lines)).toMatchObject({ whole: true, instances: [{ cut: 3 }] });
    const [first = '', second = ''] = lines;
    const digest = (line: string): string => /"digest":"([^"]+)"/.exec(line)?.[1] ?? '';
    expect(verify(lines.with(0, first.replace(digest(first), digest(second)))).whole).toBe(false);
  });
});

/** A collector that answers as it is told. @returns what it took */
async function collector(
  statusOf: (body: string) => number,
): Promise<{ readonly url: string; readonly taken: string[] }> {
  const taken: string[] = [];
  const server = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk: Buffer) => (body += chunk.toString()));
    request.on('end', () => {
      const status = statusOf(body);
      if (status === 200) taken.push(...body.trimEnd().split('\n'));
      response.writeHead(status).end();
    });
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  ending.push(() => void server.close());
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`, taken };
}

describe('a collector that refuses one record', () => {
  const recorder = openRecorder();
  const lines = Array.from({ length: 40 }, (_, at) => recorder.decision({ subject: `u${at}` }));

  it.each([413, 400, 422])(
    'with %i gets all others, in order, and a stub of it',
    async (status) => {
      const poison = recorder.decision({ context: { text: 'x'.repeat(9_000) } });
      const problems: string[] = [];
      const { url, taken } = await collector((body) => (body.includes('xxx') ? status : 200));
      const http = openHttp({
        url,
        authorizationFile: undefined,
        timeoutMs: 2_000,
        writer: 'w',
        onCut: (problem) => problems.push(problem),
      });
      await http.keep({ id: 1, lines: lines.toSpliced(20, 0, poison) });
      expect(taken.toSpliced(20, 1)).toEqual(lines);
      expect(JSON.parse(taken[20] ?? '')).toMatchObject({
        omitted: ['context'],
        cut: { bytes: Buffer.byteLength(poison) },
      });
      expect(problems[0]).toContain(`answers ${status} to a record of`);
      expect(http.counts?.()).toEqual({ cut: 1 });
    },
  );

  it('refuses them all for a time: nothing is lost, nothing is cut', async () => {
    let status = 400;
    const { url, taken } = await collector(() => status);
    const http = openHttp({ url, authorizationFile: undefined, timeoutMs: 2_000, writer: 'w' });
    await expect(http.keep({ id: 1, lines })).rejects.toThrow('and 400 to a stub of it');
    status = 401;
    await expect(http.keep({ id: 1, lines })).rejects.toThrow('answers 401');
    status = 200;
    await http.keep({ id: 1, lines });
    expect(taken).toEqual(lines);
    expect(http.counts?.()).toEqual({ cut: 0 });
  });

  it('fails in the middle: what it took is not sent again', async () => {
    let fails = true;
    const { url, taken } = await collector((body) => {
      if (body.split('\n').length > 11) return 413;
      return fails && body.includes('user:u30') ? 503 : 200;
    });
    const http = openHttp({ url, authorizationFile: undefined, timeoutMs: 2_000, writer: 'w' });
    await expect(http.keep({ id: 1, lines })).rejects.toThrow('answers 503');
    fails = false;
    await http.keep({ id: 1, lines });
    expect(taken).toEqual(lines);
  });
});

describe('a Redis that takes small values only', () => {
  it('gets every record, the large one as a stub', async () => {
    const redis = await startRedis(['proto-max-bulk-len 1mb']);
    ending.push(() => redis.dispose());
    const problems: unknown[] = [];
    const destination = openRedisSink({
      url: redis.url,
      password: undefined,
      tls: {},
      key: 'log',
      maxLength: 0,
      maxAgeMs: 0,
      waitReplicas: 0,
      timeoutMs: 2_000,
      writer: 'w',
      onProblem: (problem) => problems.push(problem),
    });
    const sink = openSink(destination, {
      name: 'redis',
      mode: 'strict',
      bufferBytes: 1e8,
      // The default of such sinks.
      maxRecordBytes: 1024 * 1024,
      timeoutMs: 5_000,
      onError: (error) => problems.push(error),
    });
    ending.push(() => sink.close(100));
    expect(await sink.write('{"n":1}')).toBe(true);
    expect(await sink.write(large(1_000))).toBe(true);
    expect(await sink.write('{"n":2}')).toBe(true);
    expect(problems).toEqual([]);
    expect(await redis.command('XLEN', 'log')).toBe(3);
  });

  it('and less than max_record_bytes, says so at the start, and gets stubs of what is too large', async () => {
    const redis = await startRedis(['proto-max-bulk-len 1mb']);
    ending.push(() => redis.dispose());
    const problems: string[] = [];
    const destination = openRedisSink({
      url: redis.url,
      password: undefined,
      tls: {},
      key: 'log',
      maxLength: 0,
      maxAgeMs: 0,
      waitReplicas: 0,
      timeoutMs: 2_000,
      maxRecordBytes: 8 * 1024 * 1024,
      writer: 'w',
      onProblem: (problem) => problems.push(problem),
    });
    ending.push(() => destination.close());
    await expect.poll(() => problems).toHaveLength(1);
    expect(problems[0]).toContain('proto-max-bulk-len');
    expect(problems[0]).toContain('max_record_bytes is 8388608');
    const line = large(4_000);
    expect(line.length).toBeGreaterThan(2 ** 20);
    await destination.keep({ id: 1, lines: ['{"n":1}', line, '{"n":2}'] });
    expect(await redis.command('XLEN', 'log')).toBe(3);
    expect(destination.counts?.()).toMatchObject({ cut: 1 });
    expect(problems).toHaveLength(1);
  });
});
