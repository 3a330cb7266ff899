/** `postern audit query`: filters and time ranges over files, standard input and a Redis stream. */
import { spawnSync } from 'node:child_process';
import { renameSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { rotatedName, workerName } from '../../src/audit/logs/names.ts';
import { ALWAYS, openFiles } from '../../src/audit/logs/log-source.ts';
import { DENIED, openRecorder, type Decided } from '../support/audit-records.ts';
import { postern } from '../support/process.ts';
import { startRedis, type RedisServer } from '../support/redis-server.ts';
import { PACKAGE_ROOT } from '../support/package-root.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const HOUR_MS = 3_600_000;
const NOON = Date.parse('2026-03-01T12:00:00.000Z');

/** The numbers of the records that are found. */
async function found(...args: readonly string[]): Promise<number[]> {
  const { code, stdout, stderr } = await postern(['audit', 'query', '-o', 'json', ...args]);
  const lines = stdout.split('\n').filter((line) => line !== '');
  expect(stderr).toBe(lines.length === 0 ? 'nothing is found\n' : '');
  expect(code).toBe(lines.length === 0 ? 1 : 0);
  return lines.map((line) => (JSON.parse(line) as { seq: number }).seq);
}

describe('filters', () => {
  let file: string;
  beforeAll(() => {
    file = join(temporaryDirectory(), 'audit.jsonl');
    const recorder = openRecorder();
    const decisions: Decided[] = [
      { subject: 'alice' },
      { subject: 'bob', outcome: DENIED, tenant: 'globex' },
      { action: 'graph.search', keyId: 'agent', mode: 'report_only', shadow: DENIED },
      { action: 'graph.delete', keyId: 'agent', mode: 'enforce', requestId: 'r-1' },
      {
        api: 'filter',
        objects: { items: [], offset: 0, limit: 0, visible: [], shadowHidden: 2, shadowShown: 0 },
      },
    ];
    const lines = [
      ...decisions.map((one) => recorder.decision(one)),
      recorder.management({ actor: 'user:alice', operation: 'user.create' }),
      recorder.authentication('no bearer token'),
    ];
    writeFileSync(file, `${lines.join('\n')}\n`);
  });

  it.each<[string[], number[]]>([
    [[], [1, 2, 3, 4, 5, 6, 7]],
    [
      ['--outcome', 'denied'],
      [2, 7],
    ],
    [
      ['--outcome', 'allowed', '--type', 'decision'],
      [1, 3, 4, 5],
    ],
    [['--type', 'authentication'], [7]],
    [['--tenant', 'globex'], [2]],
    [['--subject', 'bob'], [2]],
    // As who asked, and as who changed something.
    [
      ['--subject', 'user:alice'],
      [1, 3, 4, 5, 6],
    ],
    [['--subject', 'role:alice'], []],
    [
      ['--key', 'agent'],
      [3, 4],
    ],
    [['--mode', 'enforce'], [4]],
    [['--action', 'graph.search'], [3]],
    [
      ['--action', 'graph.*'],
      [3, 4],
    ],
    [
      ['--action', '*:read'],
      [1, 2, 5],
    ],
    [['--action', 'g*.*e*e'], [4]],
    // What is no star stands for itself.
    [['--action', 'graph.s.arch'], []],
    [['--action', 'user.*'], [6]],
    [['--api', 'filter'], [5]],
    [['--reason', 'NO_GRANT'], [2]],
    [['--differs'], [3, 5]],
    [['--request-id', 'r-1'], [4]],
    [['--decision-id', '0123456789ab-3'], [3]],
    [
      ['--limit', '2'],
      [1, 2],
    ],
    [['--key', 'agent', '--outcome', 'denied'], []],
  ])('%j finds %j', async (args, expected) => {
    expect(await found('--file', file, ...args)).toEqual(expected);
  });

  it('a table says who, what and why on a line each', async () => {
    const { stdout } = await postern(['audit', 'query', '--file', file]);
    const lines = stdout.split('\n');
    expect(lines[0]).toMatch(/^TIME {2,}ANSWER +TENANT +WHO +ACTION +RESOURCE +WHY$/);
    expect(lines[2]).toMatch(
      /^\S+Z {2}denied {3}globex +user:bob +kb:read +kb\/kb1 work\.kb +NO_GRANT$/,
    );
    expect(lines[3]).toMatch(/user:alice key agent .* under enforcement: would be denied$/);
    expect(lines[5]).toMatch(/0 of 0 objects .* under enforcement: 2 would be hidden$/);
    expect(lines[6]).toMatch(/allowed +acme +user:alice +user\.create$/);
    expect(lines).toHaveLength(9);
  });

  it('YAML has a document a record', async () => {
    const { stdout } = await postern([
      'audit',
      'query',
      '--file',
      file,
      '-o',
      'yaml',
      '--limit',
      '1',
    ]);
    expect(parse(stdout.replace('---\n', ''))).toMatchObject({ seq: 1, subject: 'user:alice' });
  });

  it('standard input is read', () => {
    const command = [join(PACKAGE_ROOT, 'dist/postern.js'), 'audit', 'query', '--file', '-'];
    const ran = spawnSync(process.execPath, command, {
      input: `${openRecorder().decision()}\nListening on 4700\n`,
      encoding: 'utf8',
    });
    expect(ran.stdout).toContain('user:alice');
    expect(ran.stderr).toBe('not a record: Listening on 4700\n');
    expect(ran.status).toBe(0);
  });

  it.each([
    [['--file', 'nowhere.jsonl'], 'there is no such file, and none rotated from it'],
    [['--file', 'no/where.jsonl'], 'its directory cannot be read'],
    [['--file', '-', '--file', 'x'], '`-` is standard input, and stands alone'],
    [['--file', 'x', '--redis', 'redis://127.0.0.1'], '--redis: the log is that of --file already'],
    [['--redis', 'http://127.0.0.1'], 'is not an address'],
    [[], 'has no audit sink that can be read: give --file FILE or --redis URL'],
    [['--file', 'x', '--from', 'yesterday'], '--from: `yesterday` is not an RFC 3339 time'],
    [['--file', 'x', '--from', '5m', '--to', '10m'], '--to: it is not after --from'],
    [['--file', 'x', '--type', 'odd'], 'allowed are decision, management, authentication'],
    [['--file', 'x', '--token', 't'], '`postern audit query` does not use this option'],
  ])('%j is refused', async (args, message) => {
    const ran = await postern(['audit', 'query', ...args]);
    expect(ran).toMatchObject({ code: 2, stdout: '' });
    expect(ran.stderr).toContain(message);
  });

  it('the log of the settings is read where no option names one', async () => {
    const directory = temporaryDirectory();
    const config = join(directory, 'postern.yaml');
    writeFileSync(
      config,
      `audit: { sinks: [{ type: stdout }, { type: file, path: own.jsonl }] }\n`,
    );
    writeFileSync(join(directory, 'own.jsonl'), `${openRecorder().decision()}\n`);
    expect(await found('--config', config)).toEqual([1]);
  });
});

describe('a time range', () => {
  /** A record an hour, in files of four. */
  const records = (): { time: Date; line: string }[] => {
    const recorder = openRecorder();
    return Array.from({ length: 12 }, (_, at) => {
      const time = new Date(NOON + at * HOUR_MS);
      return { time, line: recorder.decision({ time }) };
    });
  };
  const at = (hours: number): string => new Date(NOON + hours * HOUR_MS).toISOString();

  it('begins with the first time and ends before the second', async () => {
    const file = join(temporaryDirectory(), 'audit.jsonl');
    writeFileSync(
      file,
      records()
        .map(({ line }) => `${line}\n`)
        .join(''),
    );
    const of = (...args: readonly string[]): Promise<number[]> => found('--file', file, ...args);
    expect(await of('--from', at(3), '--to', at(6))).toEqual([4, 5, 6]);
    expect(await of('--from', at(9))).toEqual([10, 11, 12]);
    expect(await of('--to', '2026-03-01T14:00:00+01:00')).toEqual([1]);
    expect(await of('--from', at(12))).toEqual([]);
  });

  it('may be so long ago', async () => {
    const file = join(temporaryDirectory(), 'audit.jsonl');
    const recorder = openRecorder();
    const ago = [90, 20, 5].map((minutes) => new Date(Date.now() - minutes * 60_000));
    writeFileSync(file, ago.map((time) => `${recorder.decision({ time })}\n`).join(''));
    expect(await found('--file', file, '--from', '1h')).toEqual([2, 3]);
    expect(await found('--file', file, '--from', '1h', '--to', '10m')).toEqual([2]);
  });

  it('leaves files alone whose names tell that they are out of it', async () => {
    const file = join(temporaryDirectory(), 'audit.jsonl');
    const all = records();
    const names = [
      rotatedName(file, new Date(NOON + 3.5 * HOUR_MS)),
      rotatedName(file, new Date(NOON + 7.5 * HOUR_MS)),
      file,
    ];
    // A line that is told wherever it is read.
    for (const [index, name] of names.entries())
      writeFileSync(
        name,
        ['strange', ...all.slice(index * 4, index * 4 + 4).map(({ line }) => line), ''].join('\n'),
      );
    const read = async (...args: readonly string[]): Promise<[number[], number]> => {
      const ran = await postern(['audit', 'query', '--file', file, '-o', 'json', ...args]);
      const lines = ran.stdout.split('\n').filter((line) => line !== '');
      return [
        lines.map((line) => (JSON.parse(line) as { seq: number }).seq),
        ran.stderr.split('not a record: strange').length - 1,
      ];
    };
    expect(await read()).toEqual([all.map((_, index) => index + 1), 3]);
    expect(await read('--from', at(8))).toEqual([[9, 10, 11, 12], 1]);
    expect(await read('--to', at(2))).toEqual([[1, 2], 1]);
    expect(await read('--from', at(4), '--to', at(6))).toEqual([[5, 6], 1]);
    expect(await read('--from', at(2), '--to', at(6))).toEqual([[3, 4, 5, 6], 2]);
  });
});

describe('several logs', () => {
  it('are read in the order of time; what is no record goes with the one before it', async () => {
    const file = join(temporaryDirectory(), 'audit.jsonl');
    const at = (minute: number): { readonly time: Date } => ({
      time: new Date(NOON + minute * 60_000),
    });
    const [one, two] = [openRecorder('000000000001'), openRecorder('000000000002')];
    const logs: readonly (readonly [name: string, lines: readonly string[]])[] = [
      [rotatedName(workerName(file, 1), at(5).time), [one.decision(at(0)), one.decision(at(4))]],
      [workerName(file, 1), ['torn', one.management(at(8)), '{"v":1,"type":"de']],
      [workerName(file, 2), [two.decision(at(2)), two.decision(at(6)), two.decision(at(9))]],
      // Written to before there were workers.
      [file, ['torn at first', openRecorder().decision(at(-5))]],
    ];
    for (const [name, lines] of logs)
      writeFileSync(name, lines.map((line) => `${line}\n`).join(''));
    const read: string[] = [];
    for await (const { text } of openFiles([file], () => {}).read(ALWAYS)) read.push(text);
    const [first, second, third, unsplit] = logs.map(([, lines]) => lines);
    expect(read).toEqual([
      ...(unsplit ?? []),
      first?.[0],
      third?.[0],
      first?.[1],
      second?.[0],
      third?.[1],
      ...(second?.slice(1) ?? []),
      third?.[2],
    ]);
  });
});

describe('a log that changes while it is read', () => {
  let file: string;
  const problems: string[] = [];
  /** The numbers that are read; `change` comes once the first line was. */
  async function numbersRead(change: () => void): Promise<number[]> {
    problems.length = 0;
    const numbers: number[] = [];
    for await (const { text } of openFiles([file], (one) => problems.push(one)).read(ALWAYS))
      if (numbers.push((JSON.parse(text) as { seq: number }).seq) === 1) change();
    return numbers;
  }
  const rotatedAt = (ms: number): string => rotatedName(file, new Date(ms));
  let records: (count: number) => string;
  beforeEach(() => {
    file = join(temporaryDirectory(), 'audit.jsonl');
    const recorder = openRecorder();
    records = (count) => Array.from({ length: count }, () => `${recorder.decision()}\n`).join('');
  });

  it('is read as it was, however often it is rotated meanwhile', async () => {
    writeFileSync(rotatedAt(1), records(10_000));
    writeFileSync(file, records(5_000));
    const numbers = await numbersRead(() => {
      for (const at of [2, 3]) {
        renameSync(file, rotatedAt(at));
        writeFileSync(file, records(10));
      }
    });
    expect(numbers).toEqual(Array.from({ length: 15_000 }, (_, at) => at + 1));
    expect(problems).toEqual([]);
  });

  it('tells which file retention has removed before it was read', async () => {
    writeFileSync(rotatedAt(1), records(2));
    writeFileSync(rotatedAt(2), records(2));
    writeFileSync(file, records(2));
    expect(await numbersRead(() => unlinkSync(rotatedAt(2)))).toEqual([1, 2, 5, 6]);
    expect(problems).toEqual([
      `\`${rotatedAt(2)}\` was removed before it was read: its records are not looked at`,
    ]);
  });
});

describe('a Redis stream', () => {
  let redis: RedisServer;
  beforeAll(async () => {
    redis = await startRedis();
  });
  afterAll(() => redis.dispose());

  it('is read by time, over many pages', async () => {
    const recorder = openRecorder();
    const before = new Date(Date.now() - 3 * HOUR_MS);
    const now = new Date();
    const writer = new Redis({ port: redis.port });
    const adding = writer.pipeline();
    for (let index = 0; index < 2_500; index++) {
      const time = index < 1_200 ? before : now;
      const id = `${time.getTime()}-${index + 1}`;
      adding.xadd('postern:audit', id, 'record', recorder.decision({ time }));
    }
    await adding.exec();
    writer.disconnect();
    const of = (...args: readonly string[]): Promise<number[]> =>
      found('--redis', redis.url, ...args);
    const all = Array.from({ length: 2_500 }, (_, index) => index + 1);
    expect(await of()).toEqual(all);
    expect(await of('--from', '1h')).toEqual(all.slice(1_200));
    expect(await of('--to', '2h')).toEqual(all.slice(0, 1_200));
    const verified = await postern(['audit', 'verify', '--redis', redis.url]);
    expect(verified.stdout).toContain('whole: 2,500 record(s)');
  });

  it('that is not there is told, and so is a Redis', async () => {
    const [stream, away] = await Promise.all([
      postern(['audit', 'query', '--redis', redis.url, '--stream', 'other']),
      postern(['audit', 'query', '--redis', 'redis://:secret@127.0.0.1:1']),
    ]);
    expect(stream.stderr).toContain('there is no stream `other`');
    expect(away.stderr).toMatch(/`redis:\/\/:\*\*\*@127\.0\.0\.1:1`.*ECONNREFUSED/);
    expect(away.stderr).not.toContain('secret');
    expect([stream.code, away.code]).toEqual([2, 2]);
  });

  it('whose entry has no record tells of it', async () => {
    await redis.command('XADD', 'odd', '1-1', 'other', 'x');
    const { code, stdout } = await postern([
      'audit',
      'verify',
      '--redis',
      redis.url,
      '--stream',
      'odd',
    ]);
    expect(stdout).toContain('no record: odd 1-1: it is no audit record');
    expect(code).toBe(1);
  });
});
