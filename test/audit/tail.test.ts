/** `postern audit tail`: every line once, whatever becomes of the file, and nothing in a record that a terminal obeys. */
import {
  appendFileSync,
  closeSync,
  copyFileSync,
  openSync,
  readdirSync,
  renameSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { rotatedName, workerName } from '../../src/audit/logs/names.ts';
import { openFiles } from '../../src/audit/logs/log-source.ts';
import { openRecorder, type Recorder } from '../support/audit-records.ts';
import { startScript } from '../support/child.ts';
import { postern, watch, type Watched } from '../support/process.ts';
import { startRedis } from '../support/redis-server.ts';
import { temporaryDirectory } from '../support/temporary.ts';

let directory: string;
let file: string;
let recorder: Recorder;
let watched: Watched | undefined;
beforeEach(() => {
  directory = temporaryDirectory();
  file = join(directory, 'audit.jsonl');
  recorder = openRecorder();
});
afterEach(() => watched?.stop());

const records = (count: number): string =>
  Array.from({ length: count }, () => `${recorder.decision()}\n`).join('');
const numbers = (from: number, to: number): number[] =>
  Array.from({ length: to - from + 1 }, (_, at) => from + at);

/** A command begins when others let it. */
const PATIENT = { timeout: 30_000 };

/** Starts a tail, and says which records it has shown. */
async function tail(...args: readonly string[]): Promise<() => number[]> {
  const source = args.includes('--redis') ? [] : ['--file', file];
  const own = watch(['audit', 'tail', '-o', 'json', ...source, ...args]);
  watched = own;
  return () =>
    own
      .stdout()
      .split('\n')
      .slice(0, -1)
      .map((line) => (JSON.parse(line) as { seq: number }).seq);
}

describe('the newest records come first', () => {
  it.each<[string[], number[]]>([
    [[], numbers(21, 30)],
    [
      ['-n', '3'],
      [28, 29, 30],
    ],
    [['-n', '30'], numbers(1, 30)],
    [['-n', '99'], numbers(1, 30)],
    // So many that fit, not of so many those that fit.
    [
      ['-n', '2', '--request-id', 'r'],
      [5, 17],
    ],
  ])('%j: %j', async (args, expected) => {
    const lines = numbers(1, 30).map((seq) =>
      recorder.decision(seq === 5 || seq === 17 ? { requestId: 'r' } : {}),
    );
    writeFileSync(rotatedName(file, new Date(1_000)), `${lines.slice(0, 9).join('\n')}\n`);
    writeFileSync(rotatedName(file, new Date(2_000)), `${lines.slice(9, 25).join('\n')}\n`);
    writeFileSync(file, `${lines.slice(25).join('\n')}\n`);
    const shown = await tail(...args);
    await expect.poll(shown, PATIENT).toEqual(expected);
    appendFileSync(file, `${recorder.decision({ requestId: 'r' })}\n`);
    await expect.poll(shown, PATIENT).toEqual([...expected, 31]);
  });

  it('of all workers together, by time', async () => {
    const own = [1, 2].map((worker) => workerName(file, worker)) as [string, string];
    const others = openRecorder('ba9876543210');
    const at = (second: number): Date => new Date(Date.UTC(2026, 0, 1, 0, 0, second));
    const line = (from: Recorder, second: number): string =>
      `${from.decision({ time: at(second) })}\n`;
    writeFileSync(rotatedName(own[0], new Date(1_000)), line(recorder, 1) + line(recorder, 3));
    writeFileSync(own[0], line(recorder, 5));
    writeFileSync(own[1], line(others, 2) + line(others, 4));
    const shown = await tail('-n', '4');
    await expect.poll(shown, PATIENT).toEqual([1, 2, 2, 3]);
    const times = [...(watched?.stdout() ?? '').matchAll(/"time":"[^"]*:0(\d)\.000Z"/g)];
    expect(times.map(([, second]) => second)).toEqual(['2', '3', '4', '5']);
    appendFileSync(own[0], line(recorder, 6));
    appendFileSync(own[1], line(others, 6));
    await expect.poll(shown, PATIENT).toEqual([1, 2, 2, 3, 4, 3]);
    const verified = await postern(['audit', 'verify', '--file', file]);
    expect(verified.stdout).toContain('whole: 7 record(s), of 2 instance(s)');
  });

  it('lines longer than a block are whole', async () => {
    const ids = ['x'.repeat(700_000), 'y', 'z'.repeat(300_000)];
    const lines = ids.map((id) => recorder.decision({ resource: { id } }));
    writeFileSync(file, `${lines.join('\n')}\n`);
    await tail('-n', '3');
    await expect.poll(() => watched?.stdout(), PATIENT).toBe(`${lines.join('\n')}\n`);
  });

  it('ends with 0 on SIGINT, though npm sends a second while it ends', async () => {
    writeFileSync(file, records(1));
    const ended = [1, 3, 5, 7, 9].map(async (ms) => {
      const one = watch(['audit', 'tail', '--file', file]);
      await expect.poll(() => one.stdout(), PATIENT).not.toBe('');
      const code = one.stop();
      await new Promise((done) => setTimeout(done, ms));
      one.child.kill('SIGINT');
      return await code;
    });
    expect(await Promise.all(ended)).toEqual([0, 0, 0, 0, 0]);
  });
});

describe('each line comes once', () => {
  it('under a server that writes 10,000 and rotates 5 times or more', async () => {
    writeFileSync(file, '');
    const shown = await tail('-n', '0');
    // It follows once it tells of a line that was not there before.
    const probe = (): string | undefined => {
      appendFileSync(file, 'probe\n');
      return watched?.stderr();
    };
    await expect.poll(probe, PATIENT).toContain('not a record: probe');
    const writer = startScript(
      new URL('../support/audit-writer.ts', import.meta.url),
      file,
      '10000',
      '500000',
    );
    expect(await writer.line()).toBe('done');
    await expect.poll(() => shown().length, PATIENT).toBe(10_000);
    expect(shown()).toEqual(numbers(1, 10_000));
    expect(readdirSync(directory).length).toBeGreaterThan(5);
  });

  it('where the file was rotated several times between two looks', async () => {
    writeFileSync(file, records(2));
    const log = openFiles([file], (message) => expect.unreachable(message));
    const following = await log.follow();
    const ending = new AbortController();
    const seen: number[] = [];
    const reading = (async () => {
      for await (const { text } of following.after(ending.signal))
        seen.push((JSON.parse(text) as { seq: number }).seq);
    })();
    appendFileSync(file, records(2));
    // Without a pause: no look falls in between.
    for (let at = 1; at <= 4; at++) {
      renameSync(file, rotatedName(file, new Date(at)));
      writeFileSync(file, records(2));
    }
    await expect.poll(() => seen, PATIENT).toEqual(numbers(3, 12));
    ending.abort();
    await reading;
    await log.close();
  });

  it('whatever way the file is named', async () => {
    writeFileSync(rotatedName(file, new Date(1)), records(1));
    writeFileSync(file, records(1));
    watched = watch(['audit', 'tail', '-o', 'json', '--file', `${directory}/./audit.jsonl`]);
    const shown = (): number => (watched?.stdout() ?? '').split('\n').length - 1;
    await expect.poll(shown, PATIENT).toBe(2);
    renameSync(file, rotatedName(file, new Date(2)));
    writeFileSync(file, records(3));
    await expect.poll(shown, PATIENT).toBe(5);
    // Nothing comes twice later on.
    await new Promise((done) => setTimeout(done, 500));
    expect(shown()).toBe(5);
  });

  it('where retention has removed the file at once', async () => {
    writeFileSync(file, records(2));
    const shown = await tail();
    await expect.poll(shown, PATIENT).toEqual([1, 2]);
    appendFileSync(file, records(2));
    unlinkSync(file);
    writeFileSync(file, records(2));
    await expect.poll(shown, PATIENT).toEqual(numbers(1, 6));
  });

  it('where its writer goes on for a second after the file was moved away', async () => {
    writeFileSync(file, records(2));
    const shown = await tail();
    await expect.poll(shown, PATIENT).toEqual([1, 2]);
    const writer = openSync(file, 'a');
    // As logrotate does it.
    renameSync(file, `${file}.1`);
    writeFileSync(file, '');
    for (let at = 0; at < 10; at++) {
      writeSync(writer, records(1));
      await new Promise((done) => setTimeout(done, 100));
    }
    closeSync(writer);
    appendFileSync(file, records(3));
    await expect.poll(shown, PATIENT).toEqual(numbers(1, 15));
    // Nothing comes twice once the old file is left.
    await new Promise((done) => setTimeout(done, 1_500));
    expect(shown()).toEqual(numbers(1, 15));
  });

  it('where the file was copied and cut to nothing', async () => {
    writeFileSync(file, records(3));
    const shown = await tail();
    await expect.poll(shown, PATIENT).toEqual([1, 2, 3]);
    copyFileSync(file, `${file}.copy`);
    truncateSync(file);
    appendFileSync(file, records(2));
    await expect.poll(shown, PATIENT).toEqual(numbers(1, 5));
  });

  it('where a line comes in parts, also the one that it began with', async () => {
    const text = records(3);
    const half = text.length - 100;
    writeFileSync(file, text.slice(0, half));
    const shown = await tail();
    await expect.poll(shown, PATIENT).toEqual([1, 2]);
    appendFileSync(file, text.slice(half));
    await expect.poll(shown, PATIENT).toEqual([1, 2, 3]);
    const next = records(1);
    for (const part of [next.slice(0, 50), next.slice(50, 51), next.slice(51)]) {
      appendFileSync(file, part);
      await new Promise((done) => setTimeout(done, 150));
    }
    await expect.poll(shown, PATIENT).toEqual([1, 2, 3, 4]);
    expect(watched?.stderr()).toBe('');
  });

  it('of a Redis stream, also over a restart of Redis', async () => {
    const redis = await startRedis(['appendonly yes', 'appendfsync always']);
    const writer = new Redis({ port: redis.port });
    writer.on('error', () => {});
    const add = async (): Promise<unknown> =>
      writer.xadd('postern:audit', '*', 'record', recorder.decision());
    for (let at = 0; at < 5; at++) await add();
    const shown = await tail('--redis', redis.url, '-n', '2');
    await expect.poll(shown, PATIENT).toEqual([4, 5]);
    await add();
    await expect.poll(shown, PATIENT).toEqual([4, 5, 6]);
    await redis.kill();
    await redis.restart();
    await add();
    await expect.poll(shown, PATIENT).toEqual([4, 5, 6, 7]);
    expect(await watched?.stop()).toBe(0);
    writer.disconnect();
    await redis.dispose();
  });

  it('of standard input', async () => {
    watched = watch(['audit', 'tail', '--file', '-', '--subject', 'bob']);
    watched.child.stdin?.write(`${recorder.decision({ subject: 'bob' })}\n${records(1)}`);
    await expect
      .poll(() => watched?.stdout(), PATIENT)
      .toMatch(/^\S+ {2}allowed .*user:bob[^\n]*\n$/);
  });
});

describe('nothing in a record is obeyed by a terminal', () => {
  const HOSTILE = [
    'line\nfeed\r\nand\ttab',
    '\u001b[2J\u001b]0;title\u0007\u001b[31mred',
    '\u009b31m\u0085\u0090',
    'nul\u0000del\u007f',
    'right\u202eto\u2066left\u200f\u061c\u200e',
    'separators\u2028and\u2029',
    'half \ud800 a pair \udc00',
    '\ufeffmark',
    `\u001b[1m${'long'.repeat(250_000)}`,
    '`$(reboot)`',
  ];
  /** All that a terminal could act on, save the end of a line. */
  // oxlint-disable-next-line no-control-regex -- they are what is looked for
  const ACTIVE = /[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/;

  /** A record in which every text is hostile, also in what no writer of ours would leave as it is. */
  const hostile = (text: string): string[] => [
    recorder.decision({
      subject: text,
      tenant: text,
      keyId: text,
      action: text,
      requestId: text,
      context: { [text]: text },
      resource: { type: text, id: text, path: text, attributes: new Map([[text, [text]]]) },
    }),
    recorder.management({ actor: text, operation: text, tenant: text, via: text }),
    recorder.authentication(text),
    JSON.stringify({
      v: 1,
      type: text,
      time: text,
      instance: text,
      seq: 1,
      allowed: text,
      [text]: text,
    }),
    JSON.stringify({
      v: 1,
      type: 'decision',
      time: 'now',
      instance: 'i',
      seq: 1,
      subject: [text],
      shadow: { differs: true, allowed: text },
      policy: [text, { text }],
      reason: { text },
      objects: { total: text, visible: [text] },
      after: [text, { kind: text, id: [text] }],
    }),
    `no record ${text}`,
  ];

  it.each(['table', 'json', 'yaml'])('as %s', async (format) => {
    // The test's own reading of YAML would take half a minute for a megabyte.
    const texts = format === 'yaml' ? HOSTILE.map((text) => text.slice(0, 1_000)) : HOSTILE;
    // A megabyte in each field of one record is enough.
    const lines = texts.flatMap((text) => hostile(text).slice(0, text.length > 10_000 ? 1 : 6));
    // Lone surrogates as JSON escapes them, and raw control characters where JSON has white space.
    writeFileSync(
      file,
      `${lines.join('\n')}\n{\t"v":1,"type":"decision",\r"time":"","instance":"i","seq":1}\n`,
    );
    const ran = await postern(['audit', 'query', '--file', file, '-o', format]);
    expect(ran.code).toBe(0);
    expect(ran.stdout).not.toMatch(ACTIVE);
    expect(ran.stderr).not.toMatch(ACTIVE);
    expect(ran.stdout.isWellFormed()).toBe(true);
    const count = lines.filter((line) => line.startsWith('{')).length;
    if (format === 'table') expect(ran.stdout.split('\n')).toHaveLength(count + 3);
    // What is shown means what was recorded.
    const shown =
      format === 'json'
        ? ran.stdout
            .split('\n')
            .slice(0, -1)
            .map((line) => JSON.parse(line) as unknown)
        : ran.stdout
            .split(/^---\n/m)
            .slice(1)
            .map((text) => parse(text) as unknown);
    if (format !== 'table')
      expect(shown.slice(0, count)).toEqual(
        lines.filter((line) => line.startsWith('{')).map((line) => JSON.parse(line) as unknown),
      );
    writeFileSync(file, `${lines.join('\n')}\n`);
    const live = watch(['audit', 'tail', '--file', file, '-o', format, '-n', '1000']);
    watched = live;
    await expect.poll(() => live.stdout().length, PATIENT).toBeGreaterThan(1_000);
    appendFileSync(file, records(1));
    await expect.poll(() => live.stdout().slice(-1_000), PATIENT).toContain('alice');
    expect(live.stdout()).not.toMatch(ACTIVE);
    expect(live.stderr()).not.toMatch(ACTIVE);
  });
});
