/** `postern audit verify`: it finds what was done to a log, and names the place. */
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import { openChain, sealOf } from '../../src/audit/seals/chain.ts';
import { rotatedName } from '../../src/audit/logs/names.ts';
import { openIntervals } from '../../src/audit/logs/intervals.ts';
import { openVerifier, type Finding, type Report } from '../../src/audit/logs/verify-log.ts';
import { mixed, openRecorder } from '../support/audit-records.ts';
import fc from '../support/fast-check.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { postern } from '../support/process.ts';

const INSTANCE = '0123456789ab';

/** A log of 100 records; those of the numbers 10, 20, 30 … are of management. */
const lines = (): string[] => mixed(openRecorder(INSTANCE), 100);

interface Ran {
  readonly code: number | null;
  readonly report: Report;
}

async function verify(text: string, ...options: readonly string[]): Promise<Ran> {
  const file = join(temporaryDirectory(), 'audit.jsonl');
  writeFileSync(file, text);
  const { code, stdout, stderr } = await postern([
    'audit',
    'verify',
    '--file',
    file,
    '-o',
    'json',
    ...options,
  ]);
  expect(stderr).toBe('');
  const report = JSON.parse(stdout.replaceAll(file, 'log')) as Report;
  expect(code).toBe(report.whole ? 0 : 1);
  return { code, report };
}

const joined = (all: readonly string[]): string => `${all.join('\n')}\n`;
/** Without their messages. */
const bare = ({ findings }: Report): Omit<Finding, 'message'>[] =>
  findings.map(({ message: _message, ...rest }) => rest);

/** The record of a number, with another text, under the hash that it had. */
function altered(all: readonly string[], seq: number, from: string, to: string): string[] {
  const line = all[seq - 1] ?? '';
  expect(line).toContain(from);
  return all.with(seq - 1, line.replace(from, to));
}

describe('a log', () => {
  it('that nobody has touched is whole', async () => {
    const { report } = await verify(joined(lines()), '--schema');
    expect(report).toMatchObject({
      whole: true,
      records: 100,
      missing: 0,
      findings: [],
      instances: [{ instance: INSTANCE, first: 1, last: 100, management: 10, erased: 0 }],
    });
  });

  it('whose line was removed has a gap', async () => {
    const { report } = await verify(joined(lines().toSpliced(41, 3)));
    expect(bare(report)).toEqual([{ kind: 'gap', instance: INSTANCE, seq: 42, last: 44 }]);
    expect(report.missing).toBe(3);
  });

  it('whose line stands there twice has a duplicate', async () => {
    const all = lines();
    const { report } = await verify(joined(all.toSpliced(50, 0, all[41] ?? '')));
    expect(bare(report)).toEqual([
      { kind: 'duplicate', where: 'log:51', instance: INSTANCE, seq: 42 },
    ]);
  });

  it('in which two lines are swapped is out of order', async () => {
    const all = lines();
    const swapped = all.with(41, all[42] ?? '').with(42, all[41] ?? '');
    const { report } = await verify(joined(swapped));
    expect(bare(report)).toEqual([{ kind: 'order', where: 'log:43', instance: INSTANCE, seq: 42 }]);
  });

  it('whose last line is cut off tells of it', async () => {
    const { report } = await verify(joined(lines()).slice(0, -20));
    expect(bare(report)).toEqual([{ kind: 'torn', where: 'log:100' }]);
  });

  it('whose last line feed alone is missing tells of it, and counts the record', async () => {
    const { report } = await verify(joined(lines()).slice(0, -1));
    expect(bare(report)).toEqual([{ kind: 'torn', where: 'log:100' }]);
    expect(report.records).toBe(100);
  });

  it('in which a line was cut off before a crash tells of it', async () => {
    const all = lines();
    const { report } = await verify(joined(all.toSpliced(41, 0, (all[41] ?? '').slice(0, 99))));
    expect(bare(report)).toEqual([{ kind: 'torn', where: 'log:42' }]);
  });

  it.each(['', '{}', 'null', '[1]', 'Listening on 4700', '{"type":"decision"}'])(
    'with the line %j has one that is no record',
    async (strange) => {
      const { report } = await verify(joined(lines().toSpliced(41, 0, strange)));
      expect(bare(report)).toEqual([{ kind: 'no_record', where: 'log:42' }]);
    },
  );

  it('of another shape is told with --schema', async () => {
    const odd = altered(lines(), 42, '"api":"check"', '"api":"chess"');
    expect((await verify(joined(odd))).report.findings).toEqual([]);
    const { report } = await verify(joined(odd), '--schema');
    expect(report.findings).toEqual([
      expect.objectContaining({
        kind: 'schema',
        where: 'log:42',
        seq: 42,
        message: expect.stringContaining('api: ') as string,
      }),
    ]);
  });

  it('that begins later is told so, and is refused with --complete', async () => {
    const rest = joined(lines().slice(55));
    expect((await verify(rest)).report.instances[0]).toMatchObject({ first: 56, missing: 0 });
    const { report } = await verify(rest, '--complete');
    expect(bare(report)[0]).toEqual({ kind: 'begins', instance: INSTANCE, seq: 1, last: 55 });
  });

  it('of several instances has the records of each', async () => {
    const all = ['a', 'b', 'c'].map((name) => mixed(openRecorder(name.repeat(12)), 30));
    const woven = Array.from({ length: 90 }, (_, at) => all[at % 3]?.[Math.floor(at / 3)] ?? '');
    expect((await verify(joined(woven))).report).toMatchObject({ whole: true, records: 90 });
    const { report } = await verify(joined(woven.toSpliced(46, 1)));
    expect(bare(report)).toEqual([{ kind: 'gap', instance: 'b'.repeat(12), seq: 16, last: 16 }]);
  });
});

describe('the chain of management records', () => {
  it('names the first record with a changed byte', async () => {
    const twice = altered(altered(lines(), 70, 'op.69', 'op.6A'), 40, 'op.39', 'op.38');
    const { report } = await verify(joined(twice));
    expect(bare(report)).toEqual([
      { kind: 'chain', where: 'log:40', instance: INSTANCE, seq: 40 },
      { kind: 'chain', where: 'log:70', instance: INSTANCE, seq: 70 },
    ]);
  });

  it('names the place where a record was removed', async () => {
    const { report } = await verify(joined(lines().toSpliced(39, 1)));
    expect(bare(report)).toEqual([
      { kind: 'gap', instance: INSTANCE, seq: 40, last: 40 },
      { kind: 'chain', where: 'log:49', instance: INSTANCE, seq: 50 },
    ]);
    expect(report.findings[1]?.message).toContain('it does not follow number 30 at log:30');
  });

  it('finds the first record removed, where the log begins with record 1', async () => {
    const { report } = await verify(joined(lines().toSpliced(9, 1)));
    expect(report.findings.map(({ kind, seq }) => [kind, seq])).toEqual([
      ['gap', 10],
      ['chain', 20],
    ]);
  });

  it('finds a record that was changed with its own hash', async () => {
    const all = lines();
    const seal = sealOf(all[39] ?? '');
    const forged = `${(seal?.body ?? '').replace('op.39', 'op.38').slice(0, -1)},"prev_hash":"${seal?.prevHash ?? ''}","hash":"${'0'.repeat(64)}"}`;
    const { report } = await verify(joined(all.with(39, forged)));
    expect(report.findings[0]).toMatchObject({ kind: 'chain', seq: 40 });
  });

  it.each([40, 100])('finds a record that was given another type: %i', async (seq) => {
    const retyped = altered(lines(), seq, '"type":"management"', '"type":"authentication"');
    const { report } = await verify(joined(retyped));
    expect(bare(report)).toEqual([{ kind: 'chain', where: `log:${seq}`, instance: INSTANCE, seq }]);
  });

  it('finds a record whose hash was taken away', async () => {
    const all = lines();
    const { report } = await verify(joined(all.with(39, sealOf(all[39] ?? '')?.body ?? '')));
    expect(report.findings.map(({ kind, seq }) => [kind, seq])).toEqual([
      ['chain', 40],
      ['chain', 50],
    ]);
  });

  it('finds bytes that are no UTF-8 where a replacement character stood', async () => {
    const recorder = openRecorder(INSTANCE);
    const line = recorder.management({ operation: '\ufffd' });
    const bytes = Buffer.from(`${line}\n`);
    const at = bytes.indexOf(Buffer.from('\ufffd'));
    const file = join(temporaryDirectory(), 'audit.jsonl');
    writeFileSync(
      file,
      Buffer.concat([bytes.subarray(0, at), Buffer.of(0xff), bytes.subarray(at + 3)]),
    );
    const { code, stdout } = await postern(['audit', 'verify', '--file', file]);
    expect(stdout).toContain('it is not UTF-8');
    expect(code).toBe(1);
  });

  it('with a key is proven by that key alone', async () => {
    const key = randomBytes(32);
    const [right, wrong, short] = ['right', 'wrong', 'short'].map((name) =>
      join(temporaryDirectory(), name),
    ) as [string, string, string];
    writeFileSync(right, key);
    writeFileSync(wrong, randomBytes(32));
    writeFileSync(short, 'secret');
    const text = joined(mixed(openRecorder(INSTANCE, key), 30));
    expect((await verify(text, '--chain-key-file', right)).report.whole).toBe(true);
    for (const options of [[], ['--chain-key-file', wrong]])
      expect((await verify(text, ...options)).report.findings[0]).toMatchObject({
        kind: 'chain',
        seq: 10,
      });
    // What somebody without the key makes of it.
    const seal = openChain(undefined);
    const forged = mixed(openRecorder(INSTANCE), 30).map((line) => {
      const body = sealOf(line)?.body;
      return body === undefined ? line : seal(body);
    });
    expect((await verify(joined(forged))).report.whole).toBe(true);
    expect((await verify(joined(forged), '--chain-key-file', right)).code).toBe(1);
    const refused = await postern(['audit', 'verify', '--file', right, '--chain-key-file', short]);
    expect(refused).toMatchObject({ code: 2, stdout: '' });
    expect(refused.stderr).toContain('--chain-key-file: ');
  });

  it('goes through rotated files, and may begin with a later one', async () => {
    const directory = temporaryDirectory();
    const file = join(directory, 'audit.jsonl');
    const all = lines();
    const parts = [all.slice(0, 33), all.slice(33, 66), all.slice(66)];
    const names = [new Date(1_000), new Date(2_000)].map((at) => rotatedName(file, at));
    for (const [at, part] of parts.entries())
      writeFileSync([...names, file][at] ?? '', joined(part));
    const whole = await postern(['audit', 'verify', '--file', file]);
    expect(whole.stdout).toMatch(
      /ends at 100\n(.*\n)+whole: 100 record\(s\), of 1 instance\(s\), 100 unsealed\n$/,
    );
    writeFileSync(names[0] ?? '', '');
    const later = await postern(['audit', 'verify', '--file', file]);
    expect(later).toMatchObject({ code: 0 });
    expect(later.stdout).toContain('begins at 34, ends at 100');
  });
});

describe('a large log', () => {
  it('with more findings than are told has them counted', async () => {
    const strange = Array.from({ length: 250 }, () => 'nothing');
    const { report } = await verify(joined([...lines().toSpliced(41, 1), ...strange]));
    expect(report.counts).toEqual({ no_record: 250, gap: 1 });
    expect(report.findings).toHaveLength(101);
  });

  it('takes memory by its gaps, not by its records', () => {
    const verifier = openVerifier({
      chainKey: undefined,
      complete: false,
      shapeProblem: () => undefined,
    });
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    const heap = (): number => {
      collect();
      return process.memoryUsage().heapUsed;
    };
    const before = heap();
    for (let at = 0; at < 400_000; at++)
      verifier.take({
        text: `{"v":1,"type":"decision","time":"","instance":"${at % 200}","seq":${Math.floor(at / 200) + 1}}`,
        where: '',
        whole: true,
      });
    // A set of all numbers would take ten times as much.
    expect(heap() - before).toBeLessThan(1024 * 1024);
    expect(verifier.end()).toMatchObject({ whole: true, records: 400_000 });
  });

  it('intervals are what a set would be', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(40), { maxLength: 80 }), (numbers) => {
        const intervals = openIntervals();
        const set = new Set<number>();
        for (const one of numbers) {
          expect(intervals.add(one)).toBe(!set.has(one));
          set.add(one);
        }
        const all = intervals.all();
        const told = all.flatMap(([first, last]) =>
          Array.from({ length: last - first + 1 }, (_, at) => first + at),
        );
        expect(told).toEqual([...set].sort((a, b) => a - b));
        for (const [at, [first]] of all.entries())
          if (at > 0) expect(first).toBeGreaterThan((all[at - 1]?.[1] ?? 0) + 1);
        expect(intervals.first()).toBe(all[0]?.[0]);
      }),
    );
  });
});
