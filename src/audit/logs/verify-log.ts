/**
 * Whether an audit log is whole: numbers without gaps, lines that are records, seals that prove them, a chain of
 * management records that nobody has broken. What is kept meanwhile grows with instances and gaps, not with records.
 */
import { isUtf8 } from 'node:buffer';
import { CHAIN_START, chainHash, sealOf, type Seal } from '../seals/chain.ts';
import type { FileLine, Line } from './names.ts';
import { openIntervals, type Interval, type Intervals } from './intervals.ts';
import { isObject, parseRecord, type AuditRecord } from '../record/line.ts';
import { openSealCheck, type Place, type SealCheck } from '../seals/seal-check.ts';

/**
 * `gap`: records are missing. `torn`: a line was cut off while it was written. `chain`: records or their seals were
 * tampered with. `unproven`: a seal is missing. `unsealed`: records have none, where it is asked for. `erased`, `cut`: more
 * or fewer records say so of themselves than are known of.
 */
export type FindingKind =
  | 'chain'
  | 'unproven'
  | 'unsealed'
  | 'gap'
  | 'begins'
  | 'empty'
  | 'erased'
  | 'cut'
  | 'duplicate'
  | 'order'
  | 'torn'
  | 'no_record'
  | 'schema';

export interface Finding {
  readonly kind: FindingKind;
  /** `audit.jsonl:12`; a gap is nowhere. */
  readonly where?: string;
  readonly instance?: string;
  readonly seq?: number;
  /** Of a gap: the last number that is missing, of which `seq` is the first. */
  readonly last?: number;
  readonly message: string;
}

export interface InstanceReport {
  readonly instance: string;
  readonly records: number;
  readonly first: number;
  readonly last: number;
  readonly missing: number;
  /** Chained records. */
  readonly management: number;
  /** Records that a subject was erased from. */
  readonly erased: number;
  readonly seals: number;
  /** Records that a seal proves. */
  readonly sealed: number;
  /** The others. */
  readonly unsealed: number;
  /** Records that were cut down to a stub, and proven as that. */
  readonly cut: number;
  /** Its last seal says that nothing follows: else what came after `last` may have been cut off. */
  readonly ended: boolean;
  /** Its seals are made with a key. */
  readonly keyed: boolean;
  /** Where the log begins later: the hash of the seal before its first one. */
  readonly predecessor?: string;
}

export interface Report {
  readonly whole: boolean;
  readonly lines: number;
  readonly records: number;
  readonly missing: number;
  readonly erased: number;
  readonly unsealed: number;
  /** Seals and chains were checked with a key: without one, whoever can write the log can make them. */
  readonly withKey: boolean;
  readonly instances: readonly InstanceReport[];
  /** How many there are of each kind. */
  readonly counts: Readonly<Partial<Record<FindingKind, number>>>;
  /** Of each kind the first 100, in the order of the log; a gap stands before the record that follows it. */
  readonly findings: readonly Finding[];
}

export interface VerifyOptions {
  /** Of the chain; `undefined`: it is a plain hash. */
  readonly chainKey: Buffer | undefined;
  /**
   * Whatever the log cannot prove is a finding: an instance that does not begin with its record 1, records without a seal,
   * an instance without its last seal or `expected`, records that say they were erased or cut down, no record at all.
   */
  readonly complete: boolean;
  /** How many records are known to be erased, with `complete`. */
  readonly expectedErased?: number | undefined;
  /** How many records are known to be cut down, with `complete`. */
  readonly expectedCut?: number | undefined;
  /** Nor is one with records that no seal proves, or without the last seal of an instance. */
  readonly requireSeals?: boolean;
  /** Of instances the last numbers that are known from elsewhere: a log that has less is not whole. */
  readonly expected?: ReadonlyMap<string, number>;
  /** What is wrong with the shape of a record; `undefined`: nothing is. */
  readonly shapeProblem: (record: AuditRecord) => string | undefined;
}

export interface Verifier {
  take(line: Line | FileLine): void;
  end(): Report;
}

interface Instance {
  readonly seqs: Intervals;
  records: number;
  newest: number;
  /** Where its lines begin and end, and where the record after a gap stands, by its number. */
  readonly begins: number;
  ends: number;
  readonly jumps: Map<number, number>;
  management: number;
  erased: number;
  readonly seals: SealCheck;
  /** The management record before, and where it stands. */
  sealed: { readonly hash: string; readonly seq: number; readonly where: string } | undefined;
}

/** Findings of a kind that are told one by one. */
const MAX_TOLD = 100;
/** What every record of ours begins with. */
const BEGINNING = '{"v":';

/** What erasure leaves of a name: an HMAC-SHA256 in base64url. */
const ERASED_NAME = /erased:[\w-]{43}/;

/** A finding at its line; without one it is of no line, and comes last. */
type Placed = Finding & { readonly at?: number };

function inLogOrder(findings: readonly Placed[]): Finding[] {
  return findings
    .toSorted((a, b) => (a.at ?? Infinity) - (b.at ?? Infinity) || 0)
    .map(({ at: _at, ...finding }) => finding);
}

export function openVerifier(options: VerifyOptions): Verifier {
  const instances = new Map<string, Instance>();
  const findings: Placed[] = [];
  const counts: Partial<Record<FindingKind, number>> = {};
  let lines = 0;
  let records = 0;

  const tell = (finding: Placed): void => {
    const count = (counts[finding.kind] ?? 0) + 1;
    counts[finding.kind] = count;
    if (count <= MAX_TOLD) findings.push(finding);
  };

  const instanceOf = (name: string): Instance => {
    const known = instances.get(name);
    if (known !== undefined) return known;
    const seqs = openIntervals();
    const made: Instance = {
      seqs,
      seals: openSealCheck({
        key: options.chainKey,
        has: (seq) => seqs.has(seq),
        first: () => seqs.first(),
        tell: (found) => tell({ ...found, instance: name }),
      }),
      records: 0,
      newest: 0,
      begins: lines,
      ends: lines,
      jumps: new Map(),
      management: 0,
      erased: 0,
      sealed: undefined,
    };
    instances.set(name, made);
    return made;
  };

  const takeRecord = (record: AuditRecord, line: Line | FileLine): void => {
    const { instance: name, seq, type } = record;
    const at = { where: line.where, at: lines, instance: name, seq };
    const instance = instanceOf(name);
    instance.ends = lines;
    records++;
    instance.records++;
    const problem = options.shapeProblem(record);
    if (problem !== undefined) tell({ kind: 'schema', ...at, message: problem });
    if (!instance.seqs.add(seq)) {
      tell({ kind: 'duplicate', ...at, message: 'this number was there before' });
      return;
    }
    // As many are kept as there are gaps.
    instance.jumps.delete(seq + 1);
    if (!instance.seqs.has(seq - 1)) instance.jumps.set(seq, lines);
    if (seq < instance.newest)
      tell({ kind: 'order', ...at, message: `it comes after number ${instance.newest}` });
    instance.newest = Math.max(instance.newest, seq);
    if (record['erased'] === true) {
      instance.erased++;
      if (!ERASED_NAME.test(line.text))
        tell({
          kind: 'chain',
          ...at,
          message: 'it says that a subject was erased and names none that was: it was changed',
        });
    }
    const seal = sealOf(line.text);
    const place: Place = { where: line.where, at: lines };
    instance.seals.take(record, 'bytes' in line ? line.bytes : line.text, place, seal);
    if (type === 'seal') return;
    if (type === 'management') instance.management++;
    else if (seal === undefined) return;
    const message = chainProblem(record, seal, line.where, instance);
    if (message !== undefined) tell({ kind: 'chain', ...at, message });
  };

  const placeOf = ({ where }: Line | FileLine): Place => ({ where, at: lines });

  /** What is wrong at a link of the chain; the chain goes on from what the record says of itself. */
  const chainProblem = (
    record: AuditRecord,
    seal: Seal | undefined,
    where: string,
    instance: Instance,
  ): string | undefined => {
    if (seal === undefined) return 'it has no hash: it was added, or its hash was taken away';
    const { sealed } = instance;
    const isFirst = instance.seqs.first() === 1;
    const expected = sealed?.hash ?? (isFirst ? CHAIN_START : seal.prevHash);
    instance.sealed = { hash: seal.hash, seq: record.seq, where };
    if (record.type !== 'management')
      return 'only management records have a hash: it was one, and its type was changed';
    if (record['erased'] !== true && !isObject(record['cut'])) {
      const { chainKey } = options;
      if (chainHash(chainKey, seal.prevHash, seal.body) !== seal.hash)
        return `it was changed: its hash is another${chainKey === undefined ? ', or a key made it (--chain-key-file)' : ', or another key made it'}`;
    }
    if (seal.prevHash === expected) return undefined;
    return sealed === undefined
      ? 'it is not the first management record: those before it were removed'
      : `it does not follow number ${sealed.seq} at ${sealed.where}: that one was changed with its hash, or some between them were removed or moved`;
  };

  const tellGaps = (
    instance: string,
    { begins, ends, jumps }: Pick<Instance, 'begins' | 'ends' | 'jumps'>,
    all: readonly Interval[],
  ): void => {
    const first = all[0]?.[0] ?? 0;
    const last = all.at(-1)?.[1] ?? 0;
    const expected = options.expected?.get(instance) ?? 0;
    if (first > 1 && options.complete)
      tell({
        kind: 'begins',
        at: begins - 0.5,
        instance,
        seq: 1,
        last: first - 1,
        message: 'the log begins later',
      });
    for (const [index, [next]] of all.entries()) {
      const before = all[index - 1]?.[1];
      if (before === undefined) continue;
      const at = (jumps.get(next) ?? ends) - 0.5;
      tell({ kind: 'gap', at, instance, seq: before + 1, last: next - 1, message: 'missing' });
    }
    if (last < expected)
      tell({
        kind: 'gap',
        at: ends,
        instance,
        seq: last + 1,
        last: expected,
        message: 'the end of its records is missing',
      });
  };

  const tellUnsealed = ({ instance, unsealed, ended, last }: InstanceReport, at: number): void => {
    if (unsealed > 0)
      tell({
        kind: 'unsealed',
        at,
        instance,
        message: `${unsealed} of its records are proven by no seal`,
      });
    const expected = options.expected?.get(instance);
    if (!ended && !(options.complete && expected !== undefined && last >= expected))
      tell({
        kind: 'unsealed',
        at,
        instance,
        message: `its last seal is not there: what came after record ${last} may have been cut off`,
      });
  };

  /** Of records that say of themselves that nobody can prove them, so many are known. */
  const tellUnprovable = (kind: 'erased' | 'cut', there: number, known = 0): void => {
    if (there === known) return;
    const what = kind === 'erased' ? 'that a subject was erased' : 'that they were cut down';
    tell({
      kind,
      message: `${there} record(s) say ${what}, ${known} are known of (--expect-${kind}): whoever can write the log can put one in the place of any record`,
    });
  };

  const tellIncomplete = (reports: readonly InstanceReport[]): void => {
    if (records === 0)
      tell({ kind: 'empty', message: 'there is no record: an empty log proves nothing' });
    tellUnprovable('erased', sum(reports.map(({ erased }) => erased)), options.expectedErased);
    tellUnprovable('cut', sum(reports.map(({ cut }) => cut)), options.expectedCut);
  };

  return {
    take(line): void {
      lines++;
      const record = parseRecord(line.text);
      if ('bytes' in line && !isUtf8(line.bytes))
        tell({ kind: 'no_record', ...placeOf(line), message: 'it is not UTF-8' });
      else if (record !== undefined) {
        takeRecord(record, line);
        if (!line.whole) tell({ kind: 'torn', ...placeOf(line), message: 'no line feed ends it' });
      } else if (!line.whole || line.text.startsWith(BEGINNING))
        tell({
          kind: 'torn',
          ...placeOf(line),
          message: 'it was cut off while it was written, or is being written',
        });
      else tell({ kind: 'no_record', ...placeOf(line), message: 'it is no audit record' });
    },
    end(): Report {
      for (const [instance, last] of options.expected ?? [])
        if (!instances.has(instance))
          tell({ kind: 'gap', instance, seq: 1, last, message: 'none of its records is there' });
      const reports: InstanceReport[] = [];
      for (const [name, instance] of instances) {
        const all = instance.seqs.all();
        tellGaps(name, instance, all);
        const report = reportOf(name, instance, all);
        if (options.requireSeals === true || options.complete) tellUnsealed(report, instance.ends);
        reports.push(report);
      }
      if (options.complete) tellIncomplete(reports);
      return {
        whole: findings.length === 0,
        lines,
        records,
        missing: sum(reports.map(({ missing }) => missing)),
        erased: sum(reports.map(({ erased }) => erased)),
        unsealed: sum(reports.map(({ unsealed }) => unsealed)),
        withKey: options.chainKey !== undefined,
        instances: reports,
        counts,
        findings: inLogOrder(findings),
      };
    },
  };
}

function reportOf(name: string, instance: Instance, all: readonly Interval[]): InstanceReport {
  const { records, management, erased, seals } = instance;
  const { predecessor, ...sealed } = seals.report();
  const first = all[0]?.[0] ?? 0;
  const last = all.at(-1)?.[1] ?? 0;
  const distinct = sum(all.map(([from, to]) => to - from + 1));
  return {
    instance: name,
    records,
    first,
    last,
    missing: last - first + 1 - distinct,
    management,
    erased,
    ...sealed,
    unsealed: distinct - sealed.sealed,
    ...(predecessor === undefined ? {} : { predecessor }),
  };
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, one) => total + one, 0);
}
