/** Seals: what was done to a log of any kind of record is found, named by its place, and what cannot be known is told. */
import { createHash, randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { chainHash, CHAIN_START, sealOf } from '../../src/audit/seals/chain.ts';
import { openEraser } from '../../src/audit/logs/erase-subjects.ts';
import { filesOf, workerName } from '../../src/audit/logs/names.ts';
import { openSealer, recordDigest } from '../../src/audit/seals/seal.ts';
import { openVerifier, type Report, type VerifyOptions } from '../../src/audit/logs/verify-log.ts';
import { mixed, openRecorder, sealedLog } from '../support/audit-records.ts';
import fc from '../support/fast-check.ts';
import { postern, serve } from '../support/process.ts';
import { PACKAGE_ROOT } from '../support/package-root.ts';
import { connectTo } from '../support/server.ts';
import { temporaryDirectory } from '../support/temporary.ts';

const INSTANCE = '0123456789ab';
const OTHER = 'ba9876543210';
const KEY = randomBytes(32);

function verify(lines: readonly string[], options: Partial<VerifyOptions> = {}): Report {
  const verifier = openVerifier({
    chainKey: KEY,
    complete: false,
    shapeProblem: () => undefined,
    ...options,
  });
  for (const [at, text] of lines.entries())
    verifier.take({ text, where: `log:${at + 1}`, whole: true });
  return verifier.end();
}

/** Where and of what record, in the order in which they are told. */
const told = ({ findings }: Report): string[] =>
  findings.map(({ kind, where = '', seq }) => [kind, where, seq].join(' '));

const sealed = (count = 95): Promise<string[]> => sealedLog(INSTANCE, count, { key: KEY });
const isSeal = (line = ''): boolean => line.includes('"type":"seal"');

describe('a log with seals', () => {
  it('that nobody has touched is proven to its end', async () => {
    const lines = await sealed();
    const report = verify(lines, { complete: true, requireSeals: true });
    expect(report).toMatchObject({
      whole: true,
      unsealed: 0,
      withKey: true,
      instances: [{ first: 1, ended: true, keyed: true, sealed: lines.length }],
    });
    expect(report.instances[0]?.seals).toBe(lines.filter(isSeal).length);
  });

  it('holds in each seal what its field reference says', async () => {
    const lines = await sealed(10);
    const at = lines.findIndex(isSeal);
    const seal = JSON.parse(lines[at] ?? '') as Record<string, string>;
    const { prev_hash, hash, digests, first } = seal;
    const sha = (text: string): string => createHash('sha256').update(text).digest('base64url');
    expect(first).toBe(1);
    expect(digests).toBe(
      lines
        .slice(0, at)
        .map((line) => sha(line).slice(0, 22))
        .join(''),
    );
    expect(prev_hash).toBe(CHAIN_START);
    const body = (lines[at] ?? '').replace(/,"prev_hash":"[^}]*/, '');
    expect(hash).toBe(chainHash(KEY, CHAIN_START, body));
  });

  it('names each record in which a byte was changed, of whatever type and field', async () => {
    const lines = await sealed();
    fc.assert(
      fc.property(fc.nat(lines.length - 1), fc.nat(2_000), (at, offset) => {
        const line = lines[at] ?? '';
        const digit = [...line.matchAll(/[0-9a-z]/g)].map(({ index }) => index);
        const where = digit[offset % digit.length] ?? 0;
        const other = line[where] === '7' ? '8' : '7';
        const forged = `${line.slice(0, where)}${other}${line.slice(where + 1)}`;
        const report = verify(lines.with(at, forged), { complete: true });
        expect(report.whole).toBe(false);
        // The text of its number, its instance or its JSON may be what was changed: then it is told as that.
        const changed = JSON.stringify(report.findings);
        expect(changed).toMatch(
          new RegExp(`"log:${at + 1}"|"seq":${at + 1}\\b|"none of its|log:${at + 1}:`),
        );
      }),
      { numRuns: 300 },
    );
  });

  it('names the record that was changed alone, where its text is still one', async () => {
    const lines = await sealed();
    const forged = lines.with(44, (lines[44] ?? '').replace('"allowed":true', '"allowed":false'));
    expect(forged).not.toEqual(lines);
    expect(told(verify(forged))).toEqual(['chain log:45 45']);
  });

  it.each([
    ['white space', (line: string) => line.replace('{"v":1,', '{"v":1, ')],
    ['its salt taken away', (line: string) => line.replace(/,"salt":"[^"]+"/, '')],
    ['a field more', (line: string) => line.replace(/\}$/, ',"note":1}')],
    ['a cut mark without its digest', (line: string) => line.replace(/\}$/, ',"cut":{}}')],
    [
      'a cut mark with another digest',
      (line: string) => line.replace(/\}$/, ',"cut":{"digest":"x"}}'),
    ],
  ])('finds a decision with %s', async (_what, change) => {
    const lines = await sealed();
    const report = verify(lines.with(41, change(lines[41] ?? '')));
    expect(report.counts).toEqual({ chain: 1 });
    expect(report.findings[0]).toMatchObject({ kind: 'chain', seq: 42 });
  });

  it('names what was removed, doubled, moved, swapped or put in', async () => {
    const lines = await sealed();
    expect(told(verify(lines.toSpliced(44, 1)))).toEqual(['gap  45']);
    expect(told(verify(lines.toSpliced(55, 0, lines[44] ?? '')))).toEqual(['duplicate log:56 45']);
    const swapped = lines.with(44, lines[45] ?? '').with(45, lines[44] ?? '');
    expect(told(verify(swapped))).toEqual(['order log:46 45']);
    // Two that have exchanged their numbers stand in order.
    const exchanged = lines
      .with(44, (lines[45] ?? '').replace('"seq":46', '"seq":45'))
      .with(45, (lines[44] ?? '').replace('"seq":45', '"seq":46'));
    expect(told(verify(exchanged))).toEqual(['chain log:45 45', 'chain log:46 46']);
    const invented = openRecorder(INSTANCE).decision().replace('"seq":1,', '"seq":45,');
    expect(told(verify(lines.toSpliced(44, 1, invented)))).toEqual([
      expect.stringMatching(/^chain log:\d+ 45$/),
    ]);
    // The gap before it comes first in the log.
    expect(told(verify([...lines, invented.replace('"seq":45,', '"seq":9999,')]))).toEqual([
      expect.stringMatching(/^gap {2}\d+$/),
      expect.stringMatching(/^chain log:\d+ 9999$/),
    ]);
  });

  it('names a seal that was changed, replaced, removed, or comes from elsewhere', async () => {
    const lines = await sealed();
    const at = lines.findIndex((line, index) => index > 40 && isSeal(line));
    const line = lines[at] ?? '';
    const seq = at + 1;
    // Its digests made anew for a record that was changed: it takes the key.
    const changed = (lines[at - 1] ?? '').replace('"action":"kb:read"', '"action":"kb:write"');
    const fresh = line.replace(recordDigest(lines[at - 1] ?? ''), recordDigest(changed));
    expect(fresh).not.toBe(line);
    const forged = verify(lines.with(at - 1, changed).with(at, fresh));
    expect(told(forged)[0]).toBe(`chain log:${seq} ${seq}`);
    // With a whole new hash, without the key.
    const { body, prevHash } = sealOf(fresh) ?? { body: '', prevHash: '' };
    const plain = `${body.slice(0, -1)},"prev_hash":"${prevHash}","hash":"${chainHash(undefined, prevHash, body)}"}`;
    expect(told(verify(lines.with(at - 1, changed).with(at, plain)))[0]).toBe(
      `chain log:${seq} ${seq}`,
    );
    // Taken away: a gap, and what it proved is not proven.
    expect(verify(lines.toSpliced(at, 1)).counts).toEqual({ gap: 1, unproven: 1 });
    // An older one in its place.
    const older = lines.find(isSeal) ?? '';
    const replayed = verify(lines.with(at, older));
    expect(replayed.whole).toBe(false);
    expect(told(replayed)).toContain(`gap  ${seq}`);
    const renumbered = verify(lines.with(at, older.replace(/"seq":\d+/, `"seq":${seq}`)));
    expect(told(renumbered)[0]).toBe(`chain log:${seq} ${seq}`);
    // Of another instance, made with the same key.
    const others = await sealedLog(OTHER, 95, { key: KEY });
    const spliced = lines.map((own, index) =>
      index > 30 && index < 60 ? (others[index] ?? '').replaceAll(OTHER, INSTANCE) : own,
    );
    expect(verify(spliced).whole).toBe(false);
    const joined = verify([...lines.slice(0, 50), ...others.slice(50)]);
    expect(joined.instances).toMatchObject([
      { instance: INSTANCE, last: 50, ended: false },
      { instance: OTHER, first: 51, ended: true },
    ]);
  });

  it('names the place of whole batches that were removed, also where numbers were made dense', async () => {
    const lines = await sealed();
    const seals = lines.flatMap((line, at) => (isSeal(line) ? [at] : []));
    const [, second = 0, , fourth = 0] = seals;
    const cut = lines.toSpliced(second + 1, fourth - second);
    const report = verify(cut);
    expect(report.counts).toMatchObject({ gap: 1, unproven: 1 });
    const removed = fourth - second;
    const dense = cut.map((line, at) =>
      at <= second
        ? line
        : line.replace(/"seq":(\d+)/, (_, seq: string) => `"seq":${Number(seq) - removed}`),
    );
    const [first] = verify(dense).findings;
    expect(first?.kind).toBe('chain');
    // The batch that the removed ones would come before.
    expect(first?.seq).toBeGreaterThan(second + 1);
    expect(first?.seq).toBeLessThanOrEqual(second + 11);
  });

  it('without its beginning tells the seal that came before it', async () => {
    const lines = await sealed();
    const at = lines.findIndex(isSeal);
    const report = verify(lines.slice(at + 1));
    expect(report).toMatchObject({ whole: true, unsealed: 0 });
    expect(report.instances[0]).toMatchObject({
      first: at + 2,
      predecessor: sealOf(lines[at] ?? '')?.hash,
    });
    expect(verify(lines.slice(at + 1), { complete: true }).counts).toEqual({ begins: 1 });
    // In the middle of a batch, as a stream is trimmed.
    expect(verify(lines.slice(at + 4))).toMatchObject({ whole: true, unsealed: 0 });
  });

  it('without its end says that it is not known, unless the end is known from elsewhere', async () => {
    const lines = await sealed();
    const cut = lines.slice(0, -7);
    const report = verify(cut);
    expect(report).toMatchObject({ whole: true, instances: [{ ended: false }] });
    expect(report.unsealed).toBeGreaterThan(0);
    expect(verify(cut, { requireSeals: true }).counts).toEqual({ unsealed: 2 });
    const expected = new Map([[INSTANCE, lines.length]]);
    expect(verify(cut, { expected }).findings).toMatchObject([
      { kind: 'gap', seq: cut.length + 1, last: lines.length },
    ]);
    expect(verify(lines, { expected }).whole).toBe(true);
    expect(verify([], { expected }).whole).toBe(false);
  });

  it('of a killed process tells how many of its last records no seal proves', async () => {
    const lines = await sealedLog(INSTANCE, 27, { key: KEY, end: false });
    const after = lines.length - 1 - lines.findLastIndex(isSeal);
    expect(after).toBeGreaterThan(0);
    expect(verify(lines)).toMatchObject({ whole: true, unsealed: after });
  });

  it('that an older version wrote is told as unsealed, and fails where seals are asked for', () => {
    const lines = mixed(openRecorder(INSTANCE, KEY), 30);
    expect(verify(lines)).toMatchObject({ whole: true, unsealed: 30, instances: [{ seals: 0 }] });
    expect(verify(lines, { requireSeals: true }).whole).toBe(false);
  });

  it('whose seals were all taken away, and numbers made dense, is told as unsealed', async () => {
    const rest = (await sealed()).filter((line) => !isSeal(line) && !line.includes('management'));
    const dense = rest.map((line, at) => line.replace(/"seq":\d+/, `"seq":${at + 1}`));
    expect(verify(dense)).toMatchObject({ unsealed: dense.length, instances: [{ sealed: 0 }] });
    expect(verify(dense, { requireSeals: true }).whole).toBe(false);
  });

  it('that was made anew without the key is found with it, and not without one', async () => {
    const anew = await sealedLog(INSTANCE, 40);
    expect(verify(anew).whole).toBe(false);
    expect(verify(anew, { chainKey: undefined })).toMatchObject({ whole: true, withKey: false });
    const keyed = verify(await sealed(), { chainKey: undefined });
    expect(keyed.findings[0]?.message).toContain('a key made it (--chain-key-file)');
    expect(verify(await sealed(), { chainKey: randomBytes(32) }).whole).toBe(false);
  });

  it('keeps its proof where records are erased, of all that are not; nobody can be guessed', async () => {
    const lines = await sealed();
    const erase = openEraser({ subjects: ['user:user-41'], tenant: 'acme', key: randomBytes(32) });
    const erased = lines.map((line) => erase(line)?.text ?? line);
    const report = verify(erased, { requireSeals: true });
    expect(report).toMatchObject({ whole: true, erased: 1, unsealed: 0 });
    const at = erased.findIndex((line, index) => line !== lines[index]);
    expect(erased[at]).not.toContain('"salt"');
    const next = erased.with(at + 1, (erased[at + 1] ?? '').replace('ALLOWED', 'NO_GRANT'));
    expect(told(verify(next))).toEqual([`chain log:${at + 2} ${at + 2}`]);
  });

  it('of many instances is checked for each', async () => {
    const one = await sealed(40);
    const two = await sealedLog(OTHER, 40, { key: KEY });
    const woven = one.flatMap((line, at) => [line, two[at] ?? '']);
    expect(verify(woven, { requireSeals: true })).toMatchObject({ whole: true, unsealed: 0 });
  });

  it('with a seal that is none fails, and stops nothing', async () => {
    const lines = await sealed(12);
    const at = lines.findIndex(isSeal);
    for (const digests of ['"', '"A"', '""', '[]', 'null', `"${'A'.repeat(220)}"`]) {
      const broken = (lines[at] ?? '').replace(/"digests":"[^"]*"/, `"digests":${digests}`);
      expect(verify(lines.with(at, broken)).whole).toBe(false);
    }
  });
});

describe('a log that is said to be complete', () => {
  it('is not, where its end was cut off at a seal or after one, unless the last number is known', async () => {
    const lines = await sealed();
    const at = lines.findIndex((line, index) => index > 40 && isSeal(line));
    const atSeal = lines.slice(0, at + 1);
    expect(verify(atSeal, { complete: true })).toMatchObject({
      whole: false,
      unsealed: 0,
      counts: { unsealed: 1 },
    });
    const known = new Map([[INSTANCE, atSeal.length]]);
    expect(verify(atSeal, { complete: true, expected: known }).whole).toBe(true);
    expect(verify(lines.slice(0, at + 4), { complete: true }).counts).toEqual({ unsealed: 2 });
    // The content of what no seal proves is not known either.
    const later = new Map([[INSTANCE, at + 4]]);
    expect(verify(lines.slice(0, at + 4), { complete: true, expected: later }).counts).toEqual({
      unsealed: 1,
    });
    expect(verify(lines.slice(0, -1), { complete: true }).whole).toBe(false);
  });

  it('is not without any record, nor with lines that are none', () => {
    expect(verify([], { complete: true })).toMatchObject({ whole: false, counts: { empty: 1 } });
    expect(verify([])).toMatchObject({ whole: true, records: 0 });
  });

  it('has no more records that say they were erased or cut down than are known', async () => {
    const lines = await sealed();
    const erase = openEraser({ subjects: ['user:user-41'], tenant: 'acme', key: randomBytes(32) });
    const erased = lines.map((line) => erase(line)?.text ?? line);
    expect(verify(erased, { complete: true }).counts).toEqual({ erased: 1 });
    expect(verify(erased, { complete: true, expectedErased: 1 }).whole).toBe(true);
    // Anything in the place of a record, with the mark and a name as erasure leaves it.
    const name = `user:erased:${'A'.repeat(43)}`;
    const forged = `{"v":1,"type":"decision","time":"2026-01-01T00:00:00.000Z","instance":"${INSTANCE}","seq":42,"subject":"${name}","allowed":true,"erased":true}`;
    expect(verify(lines.with(41, forged), { complete: true }).whole).toBe(false);
    expect(verify(erased.with(41, forged), { complete: true, expectedErased: 1 }).whole).toBe(
      erased[41] !== lines[41],
    );
    // Without such a name it is none, whatever is asked for.
    const bad = forged.replace(name, 'user:alice');
    expect(told(verify(lines.with(41, bad)))).toEqual(['chain log:42 42']);
    const stub = (lines[41] ?? '').replace(
      /\}$/,
      `,"cut":{"digest":"${recordDigest(lines[41] ?? '')}"}}`,
    );
    expect(verify(lines.with(41, stub), { complete: true }).counts).toEqual({ cut: 1 });
    expect(verify(lines.with(41, stub), { complete: true, expectedCut: 1 }).whole).toBe(true);
  });

  it('by the command: exit code 1, and what is not known is said', async () => {
    const directory = temporaryDirectory();
    const file = join(directory, 'audit.jsonl');
    const key = join(directory, 'key');
    writeFileSync(key, KEY);
    const lines = await sealed();
    const run = (text: string, ...more: readonly string[]) => {
      writeFileSync(file, text);
      const args = ['audit', 'verify', '--file', file, '--chain-key-file', key, '--complete'];
      return postern([...args, ...more]);
    };
    const empty = await run('');
    expect(empty).toMatchObject({ code: 1 });
    expect(empty.stdout).toContain('empty: there is no record');
    const cut = await run(`${lines.slice(0, -5).join('\n')}\n`);
    expect(cut).toMatchObject({ code: 1 });
    expect(cut.stdout).toContain('may have been cut off');
    const whole = await run(`${lines.join('\n')}\n`);
    expect(whole).toMatchObject({ code: 0 });
    expect(whole.stdout).toContain('not known: whether all records of an instance were removed');
    expect((await run('', '--expect-erased', 'x')).code).toBe(2);
  });
});

describe('findings', () => {
  it('stand in the order of the log, whatever found them', async () => {
    const lines = await sealed();
    const changed = (line = ''): string => line.replace('"allowed":true', '"allowed":false');
    const seals = lines.flatMap((line, at) => (isSeal(line) ? [at] : []));
    const [, , third = 0] = seals;
    // One that its seal finds later, one that is none at once, a gap, one more.
    const decisions = lines.flatMap((line, at) =>
      at > third && changed(line) !== line ? [at] : [],
    );
    const [a = 0, b = 0, c = 0] = decisions;
    const spoilt = lines.with(a, changed(lines[a])).with(c, changed(lines[c]));
    const report = verify([
      ...spoilt.slice(0, b),
      'nothing',
      ...spoilt.slice(b + 1, c - 1),
      ...spoilt.slice(c),
    ]);
    const rows = report.findings.map(({ kind, seq, where }) => ({ kind, seq, where }));
    expect(rows[0]).toMatchObject({ kind: 'chain', seq: a + 1 });
    expect(rows[1]).toMatchObject({ kind: 'no_record', where: `log:${b + 1}` });
    expect(rows.slice(2).map(({ kind }) => kind)).toContain('gap');
    const numbers = report.findings.flatMap(({ where }) =>
      where === undefined ? [] : [Number(where.slice('log:'.length))],
    );
    expect(numbers).toEqual(numbers.toSorted((x, y) => x - y));
    expect(rows.findIndex(({ kind }) => kind === 'gap')).toBeLessThan(
      rows.findIndex(({ seq, kind }) => kind === 'chain' && seq === c + 1),
    );
  });
});

describe('what waits for a seal', () => {
  it('is sealed by number, by size and by time', async () => {
    const sealer = openSealer(INSTANCE, { key: undefined, records: 3 });
    sealer.add('a');
    sealer.add('b');
    expect(sealer.isDue()).toBe(false);
    sealer.add('c');
    expect(sealer.isDue()).toBe(true);
    sealer.seal(4, false);
    expect(sealer.isDue()).toBe(false);
    sealer.add('x'.repeat(2_000_000));
    expect(sealer.isDue()).toBe(true);
    await Promise.resolve();
  });
});

describe('a running server', () => {
  const settings = (directory: string, more: string): string =>
    [
      `catalog: ${PACKAGE_ROOT}/config/actions.yaml`,
      `default_roles: ${PACKAGE_ROOT}/config/roles.yaml`,
      `store: embedded:${join(directory, 'store')}`,
      'grpc: { address: 127.0.0.1:0 }',
      'http: { address: 127.0.0.1:0 }',
      more,
      '',
    ].join('\n');
  const question = { tenant: 'demo', subject: { id: 'alice' }, action: 'read' };

  it('seals through rotation, by two workers, with a key, and is proven to its end', async () => {
    const directory = temporaryDirectory();
    const log = join(directory, 'audit.jsonl');
    const key = join(directory, 'key');
    writeFileSync(key, KEY);
    const own = await serve(['--demo'], {
      settings: settings(
        directory,
        `workers: 2\naudit: { chain_key_file: ${key}, seal_records: 16, seal_ms: 50, sinks: [{ type: file, path: ${log}, rotate_bytes: 8000 }] }`,
      ),
    });
    const client = connectTo(own.grpc);
    for (let n = 0; n < 120; n++) await client.call('Check', question);
    client.close();
    // Connections go to the workers in turn.
    for (let n = 0; n < 4; n++)
      await postern(['check', 'alice', 'read', 'work', '--tenant', 'demo', '--address', own.grpc]);
    await expect
      .poll(async () => (await run(log, key)).report.unsealed, { timeout: 10_000 })
      .toBeLessThanOrEqual(2);
    const running = await run(log, key);
    expect(running.report).toMatchObject({ whole: true, withKey: true });
    const files = (
      await Promise.all([1, 2].map((worker) => filesOf(workerName(log, worker))))
    ).flat();
    expect(files.length).toBeGreaterThan(3);
    expect(await own.stop()).toBe(0);
    const { code, report } = await run(log, key, '--require-seals', '--complete', '--schema');
    expect({ code, findings: report.findings }).toEqual({ code: 0, findings: [] });
    expect(report.instances).toHaveLength(2);
    // Somebody without the key alters one of them.
    const [file = ''] = files;
    const text = readFileSync(file, 'utf8');
    writeFileSync(file, text.replace('"subject":"user:alice"', '"subject":"user:mally"'));
    const forged = await run(log, key);
    expect(forged.code).toBe(1);
    expect(forged.report.findings[0]).toMatchObject({
      kind: 'chain',
      where: expect.stringContaining(`${file}:`) as string,
    });
    await own.dispose();
  });

  async function run(
    log: string,
    key: string,
    ...more: readonly string[]
  ): Promise<{ readonly code: number | null; readonly report: Report }> {
    const args = ['audit', 'verify', '--file', log, '--chain-key-file', key, '-o', 'json', ...more];
    const { code, stdout, stderr } = await postern(args);
    expect(stderr).toBe('');
    return { code, report: JSON.parse(stdout) as Report };
  }
});

describe('--expect-seq', () => {
  it.each(['', 'x', '0123456789ab', '0123456789ab:', '0123456789ab:-1', '0123456789ab:1e3'])(
    '%j is refused',
    async (value) => {
      const file = join(temporaryDirectory(), 'audit.jsonl');
      writeFileSync(file, '');
      const ran = await postern(['audit', 'verify', '--file', file, '--expect-seq', value]);
      expect(ran).toMatchObject({ code: 2, stdout: '' });
      expect(ran.stderr).toContain('--expect-seq: ');
    },
  );
});
