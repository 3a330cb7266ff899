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

/** Findings of a kind that are listed one by one. */
const MAX_LISTED = 100;
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
  return new LogVerifier(options);
}

class LogVerifier implements Verifier {
  readonly #options: VerifyOptions;
  readonly #instances = new Map<string, Instance>();
  readonly #findings: Placed[] = [];
  readonly #counts: Partial<Record<FindingKind, number>> = {};
  #lines = 0;
  #records = 0;

  constructor(options: VerifyOptions) {
    this.#options = options;
  }

  take(line: Line | FileLine): void {
    this.#lines++;
    const place = this.#placeOf(line);
    const record = parseRecord(line.text);
    if ('bytes' in line && !isUtf8(line.bytes))
      this.#add({ kind: 'no_record', ...place, message: 'it is not UTF-8' });
    else if (record !== undefined) {
      this.#takeRecord(record, line);
      if (!line.whole) this.#add({ kind: 'torn', ...place, message: 'no line feed ends it' });
    } else if (!line.whole || line.text.startsWith(BEGINNING))
      this.#add({
        kind: 'torn',
        ...place,
        message: 'it was cut off while it was written, or is being written',
      });
    else this.#add({ kind: 'no_record', ...place, message: 'it is no audit record' });
  }

  end(): Report {
    const { expected, requireSeals, complete, chainKey } = this.#options;
    for (const [instance, last] of expected ?? [])
      if (!this.#instances.has(instance))
        this.#add({ kind: 'gap', instance, seq: 1, last, message: 'none of its records is there' });
    const reports: InstanceReport[] = [];
    for (const [name, instance] of this.#instances) {
      const all = instance.seqs.all();
      this.#addGaps(name, instance, all);
      const report = reportOf(name, instance, all);
      if (requireSeals === true || complete) this.#addUnsealed(report, instance.ends);
      reports.push(report);
    }
    if (complete) this.#addIncomplete(reports);
    return {
      whole: this.#findings.length === 0,
      lines: this.#lines,
      records: this.#records,
      missing: sum(reports.map(({ missing }) => missing)),
      erased: sum(reports.map(({ erased }) => erased)),
      unsealed: sum(reports.map(({ unsealed }) => unsealed)),
      withKey: chainKey !== undefined,
      instances: reports,
      counts: this.#counts,
      findings: inLogOrder(this.#findings),
    };
  }

  #add(finding: Placed): void {
    const count = (this.#counts[finding.kind] ?? 0) + 1;
    this.#counts[finding.kind] = count;
    if (count <= MAX_LISTED) this.#findings.push(finding);
  }

  #placeOf({ where }: Line | FileLine): Place {
    return { where, at: this.#lines };
  }

  #instanceOf(name: string): Instance {
    const found = this.#instances.get(name);
    if (found !== undefined) return found;
    const seqs = openIntervals();
    const made: Instance = {
      seqs,
      seals: openSealCheck({
        key: this.#options.chainKey,
        has: (seq) => seqs.has(seq),
        first: () => seqs.first(),
        onFinding: (finding) => this.#add({ ...finding, instance: name }),
      }),
      records: 0,
      newest: 0,
      begins: this.#lines,
      ends: this.#lines,
      jumps: new Map(),
      management: 0,
      erased: 0,
      sealed: undefined,
    };
    this.#instances.set(name, made);
    return made;
  }

  #takeRecord(record: AuditRecord, line: Line | FileLine): void {
    const { instance: name, seq } = record;
    const place = this.#placeOf(line);
    const at = { ...place, instance: name, seq };
    const instance = this.#instanceOf(name);
    instance.ends = this.#lines;
    this.#records++;
    instance.records++;
    const problem = this.#options.shapeProblem(record);
    if (problem !== undefined) this.#add({ kind: 'schema', ...at, message: problem });
    if (!instance.seqs.add(seq)) {
      this.#add({ kind: 'duplicate', ...at, message: 'this number was there before' });
      return;
    }
    // As many are kept as there are gaps.
    instance.jumps.delete(seq + 1);
    if (!instance.seqs.has(seq - 1)) instance.jumps.set(seq, this.#lines);
    if (seq < instance.newest)
      this.#add({ kind: 'order', ...at, message: `it comes after number ${instance.newest}` });
    instance.newest = Math.max(instance.newest, seq);
    if (record['erased'] === true) {
      instance.erased++;
      if (!ERASED_NAME.test(line.text))
        this.#add({
          kind: 'chain',
          ...at,
          message: 'it says that a subject was erased and names none that was: it was changed',
        });
    }
    const seal = sealOf(line.text);
    instance.seals.take(record, 'bytes' in line ? line.bytes : line.text, place, seal);
    const message = this.#chainProblem(record, seal, line.where, instance);
    if (message !== undefined) this.#add({ kind: 'chain', ...at, message });
  }

  /** What is wrong at a link of the chain; the chain goes on from what the record says of itself. */
  #chainProblem(
    record: AuditRecord,
    seal: Seal | undefined,
    where: string,
    instance: Instance,
  ): string | undefined {
    const { type } = record;
    if (type === 'seal') return undefined;
    if (type === 'management') instance.management++;
    else if (seal === undefined) return undefined;
    if (seal === undefined) return 'it has no hash: it was added, or its hash was taken away';
    const { sealed } = instance;
    const isFirst = instance.seqs.first() === 1;
    const expected = sealed?.hash ?? (isFirst ? CHAIN_START : seal.prevHash);
    instance.sealed = { hash: seal.hash, seq: record.seq, where };
    if (type !== 'management')
      return 'only management records have a hash: it was one, and its type was changed';
    if (record['erased'] !== true && !isObject(record['cut'])) {
      const { chainKey } = this.#options;
      if (chainHash(chainKey, seal.prevHash, seal.body) !== seal.hash)
        return `it was changed: its hash is another${chainKey === undefined ? ', or a key made it (--chain-key-file)' : ', or another key made it'}`;
    }
    if (seal.prevHash === expected) return undefined;
    return sealed === undefined
      ? 'it is not the first management record: those before it were removed'
      : `it does not follow number ${sealed.seq} at ${sealed.where}: that one was changed with its hash, or some between them were removed or moved`;
  }

  #addGaps(
    instance: string,
    { begins, ends, jumps }: Pick<Instance, 'begins' | 'ends' | 'jumps'>,
    all: readonly Interval[],
  ): void {
    const first = all[0]?.[0] ?? 0;
    const last = all.at(-1)?.[1] ?? 0;
    const expected = this.#options.expected?.get(instance) ?? 0;
    if (first > 1 && this.#options.complete)
      this.#add({
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
      this.#add({ kind: 'gap', at, instance, seq: before + 1, last: next - 1, message: 'missing' });
    }
    if (last < expected)
      this.#add({
        kind: 'gap',
        at: ends,
        instance,
        seq: last + 1,
        last: expected,
        message: 'the end of its records is missing',
      });
  }

  #addUnsealed({ instance, unsealed, ended, last }: InstanceReport, at: number): void {
    const { expected, complete } = this.#options;
    if (unsealed > 0)
      this.#add({
        kind: 'unsealed',
        at,
        instance,
        message: `${unsealed} of its records are proven by no seal`,
      });
    const end = expected?.get(instance);
    if (!ended && !(complete && end !== undefined && last >= end))
      this.#add({
        kind: 'unsealed',
        at,
        instance,
        message: `its last seal is not there: what came after record ${last} may have been cut off`,
      });
  }

  #addIncomplete(reports: readonly InstanceReport[]): void {
    const { expectedErased, expectedCut } = this.#options;
    if (this.#records === 0)
      this.#add({ kind: 'empty', message: 'there is no record: an empty log proves nothing' });
    this.#addUnprovable('erased', sum(reports.map(({ erased }) => erased)), expectedErased);
    this.#addUnprovable('cut', sum(reports.map(({ cut }) => cut)), expectedCut);
  }

  /** Of records that say of themselves that nobody can prove them, so many are expected. */
  #addUnprovable(kind: 'erased' | 'cut', there: number, expected = 0): void {
    if (there === expected) return;
    const what = kind === 'erased' ? 'that a subject was erased' : 'that they were cut down';
    this.#add({
      kind,
      message: `${there} record(s) say ${what}, ${expected} are known of (--expect-${kind}): whoever can write the log can put one in the place of any record`,
    });
  }
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
