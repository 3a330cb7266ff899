/**
 * Checks the seals of one instance's records, in the order of the log. What is kept meanwhile is bounded: records that
 * wait for their seal, which comes after `MAX_SEALED` of them at the latest.
 */
import { CHAIN_START, chainHash, type Seal } from './chain.ts';
import { isObject, type AuditRecord } from '../record/line.ts';
import { digestsIn, MAX_SEALED, recordDigest } from './seal.ts';

/** Where a line stands. */
export interface Place {
  /** `audit.jsonl:12` */
  readonly where: string;
  /** Lines of the log up to this one. */
  readonly at: number;
}

export interface SealFinding extends Place {
  /** `chain`: records or seals were tampered with. `unproven`: the seal of records is missing. */
  readonly kind: 'chain' | 'unproven';
  readonly seq: number;
  /** Of several records: the last. */
  readonly last?: number;
  readonly message: string;
}

/** What the seals of an instance have proven. */
export interface SealReport {
  readonly seals: number;
  /** Records that a seal proves, seals included. */
  readonly sealed: number;
  /** Records that were cut down to a stub for want of room; a seal proves what they were. */
  readonly cut: number;
  /** The instance has said that no record of it follows. */
  readonly ended: boolean;
  /** The seals are made with a key. */
  readonly keyed: boolean;
  /** Where the log begins later: the hash of the seal before its first one. */
  readonly predecessor: string | undefined;
}

export interface SealCheck {
  /** Takes a record whose number is new, by its line as it stands in the log. */
  take(record: AuditRecord, line: string | Buffer, place: Place, seal: Seal | undefined): void;
  report(): SealReport;
}

interface Waiting {
  readonly digest: string;
  readonly place: Place;
  /** Its text is not what it was, and it says so. */
  readonly isErased: boolean;
  readonly isCut: boolean;
  /** It proves itself by its own hash. */
  readonly isSeal: boolean;
}

export interface SealCheckOptions {
  readonly key: Buffer | undefined;
  /** Whether a number stood in the log. */
  readonly has: (seq: number) => boolean;
  /** The first number of the instance in the log. */
  readonly first: () => number | undefined;
  readonly onFinding: (finding: SealFinding) => void;
}

/** As many wait at most: of a log without seals nothing is kept for long. */
const MAX_WAITING = 2 * MAX_SEALED;

export function openSealCheck(options: SealCheckOptions): SealCheck {
  return new InstanceSeals(options);
}

class InstanceSeals implements SealCheck {
  readonly #options: SealCheckOptions;
  readonly #waiting = new Map<number, Waiting>();
  #seals = 0;
  #sealed = 0;
  #cut = 0;
  #keyed = false;
  #predecessor: string | undefined;
  /** Number of the seal that says that nothing follows. */
  #ended: number | undefined;
  /** The seal before. */
  #before: { readonly hash: string; readonly seq: number; readonly where: string } | undefined;

  constructor(options: SealCheckOptions) {
    this.#options = options;
  }

  take(record: AuditRecord, line: string | Buffer, place: Place, seal: Seal | undefined): void {
    const { seq, type } = record;
    if (this.#ended !== undefined && seq > this.#ended)
      this.#tamper(
        seq,
        place,
        `it comes after the last seal of its instance, record ${this.#ended}: it was added`,
      );
    const cutDown = isObject(record['cut']) ? record['cut']['digest'] : undefined;
    const isCut = typeof cutDown === 'string';
    // A seal has counted itself.
    if (type === 'seal') this.#takeSeal(record, place, seal);
    // Older versions wrote no salts, and no seals.
    if (!('salt' in record) && type !== 'seal' && record['erased'] !== true && !isCut) return;
    this.#waiting.set(seq, {
      digest: isCut ? cutDown : recordDigest(line),
      place,
      isErased: record['erased'] === true,
      isCut,
      isSeal: type === 'seal',
    });
    if (this.#waiting.size <= MAX_WAITING) return;
    const [oldest] = this.#waiting.keys();
    if (oldest !== undefined) this.#waiting.delete(oldest);
  }

  report(): SealReport {
    return {
      seals: this.#seals,
      sealed: this.#sealed,
      cut: this.#cut,
      ended: this.#ended !== undefined,
      keyed: this.#keyed,
      predecessor: this.#predecessor,
    };
  }

  #takeSeal(record: AuditRecord, place: Place, seal: Seal | undefined): void {
    const { key } = this.#options;
    const { seq } = record;
    const from = record['first'];
    const digests = digestsIn(record['digests']);
    if (
      seal === undefined ||
      digests === undefined ||
      typeof from !== 'number' ||
      from + digests.length !== seq
    ) {
      this.#tamper(seq, place, 'it is no seal any more: it was changed');
      return;
    }
    this.#keyed ||= record['keyed'] === true;
    this.#seals++;
    if (chainHash(key, seal.prevHash, seal.body) === seal.hash) this.#sealed++;
    else this.#tamper(seq, place, forgedSeal(from, seq, record, key));
    this.#follow(record, from, place, seal);
    this.#prove(from, digests, seq, place);
    this.#before = { hash: seal.hash, seq, where: place.where };
    if (record['end'] === true) this.#ended = seq;
  }

  /** Compares the records before a seal with its digests. */
  #prove(from: number, digests: readonly string[], seq: number, place: Place): void {
    const { has, first } = this.#options;
    for (const [at, digest] of digests.entries()) {
      const number = from + at;
      const one = this.#waiting.get(number);
      this.#waiting.delete(number);
      if (one === undefined) {
        // One that is missing is a gap.
        if (has(number) && number >= (first() ?? 0))
          this.#tamper(
            number,
            place,
            `it is not what seal ${seq} was made of: it was changed, or stands at another place`,
          );
      } else if (one.isErased) this.#sealed++;
      else if (one.digest !== digest)
        this.#tamper(
          number,
          one.place,
          `it was changed: the seal in record ${seq} at ${place.where} is of another text`,
        );
      else if (!one.isSeal) {
        this.#sealed++;
        if (one.isCut) this.#cut++;
      }
    }
  }

  /** Compares a seal with the one before it. */
  #follow({ seq }: AuditRecord, from: number, place: Place, seal: Seal): void {
    const begins = this.#options.first() ?? 1;
    const before = this.#before;
    if (before === undefined) {
      if (from > begins) this.#unproven(begins, from, place);
      else if (begins > 1) this.#predecessor = seal.prevHash;
      else if (seal.prevHash !== CHAIN_START)
        this.#tamper(
          seq,
          place,
          'it says that another seal came before it, and is of the first record',
        );
    } else if (from > before.seq) this.#unproven(before.seq, from, place);
    else if (from < before.seq || seal.prevHash !== before.hash)
      this.#tamper(
        seq,
        place,
        `the seal does not follow the one in record ${before.seq} at ${before.where}: that one was changed with its hash, or this one is of another chain`,
      );
  }

  #tamper(seq: number, place: Place, message: string): void {
    this.#options.onFinding({ kind: 'chain', ...place, seq, message });
  }

  #unproven(from: number, to: number, place: Place): void {
    this.#options.onFinding({
      kind: 'unproven',
      ...place,
      seq: from,
      last: to - 1,
      message: 'the seal of these records is missing: what is left of them is not proven',
    });
  }
}

function forgedSeal(
  from: number,
  seq: number,
  record: AuditRecord,
  key: Buffer | undefined,
): string {
  const remedy =
    record['keyed'] === true && key === undefined
      ? 'a key made it (--chain-key-file), or it'
      : record['keyed'] === true
        ? 'another key made it, or it'
        : key === undefined
          ? 'it'
          : 'it was made without the key, or it';
  return `its hash is another: ${remedy} was changed, or the digests of records ${from} to ${seq - 1} in it were`;
}
