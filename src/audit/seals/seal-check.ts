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
  readonly tell: (finding: SealFinding) => void;
}

/** As many wait at most: of a log without seals nothing is kept for long. */
const MAX_WAITING = 2 * MAX_SEALED;

export function openSealCheck({ key, has, first, tell }: SealCheckOptions): SealCheck {
  const waiting = new Map<number, Waiting>();
  let seals = 0;
  let sealed = 0;
  let cut = 0;
  let keyed = false;
  let predecessor: string | undefined;
  let ended: number | undefined;
  let before: { readonly hash: string; readonly seq: number; readonly where: string } | undefined;

  /** What the records before a seal are, by its digests. */
  const prove = (from: number, digests: readonly string[], seq: number, place: Place): void => {
    for (const [at, digest] of digests.entries()) {
      const number = from + at;
      const one = waiting.get(number);
      waiting.delete(number);
      if (one === undefined) {
        // One that is missing is a gap.
        if (has(number) && number >= (first() ?? 0))
          tell({
            kind: 'chain',
            ...place,
            seq: number,
            message: `it is not what seal ${seq} was made of: it was changed, or stands at another place`,
          });
      } else if (one.isErased) sealed++;
      else if (one.digest !== digest)
        tell({
          kind: 'chain',
          ...one.place,
          seq: number,
          message: `it was changed: the seal in record ${seq} at ${place.where} is of another text`,
        });
      else if (!one.isSeal) {
        sealed++;
        if (one.isCut) cut++;
      }
    }
  };

  const follow = (record: AuditRecord, from: number, place: Place, seal: Seal): void => {
    const begins = first() ?? 1;
    if (before === undefined) {
      if (from > begins) unproven(begins, from, place);
      else if (begins > 1) predecessor = seal.prevHash;
      else if (seal.prevHash !== CHAIN_START)
        tell({
          kind: 'chain',
          ...place,
          seq: record.seq,
          message: 'it says that another seal came before it, and is of the first record',
        });
      return;
    }
    if (from > before.seq) unproven(before.seq, from, place);
    else if (from < before.seq || seal.prevHash !== before.hash)
      tell({
        kind: 'chain',
        ...place,
        seq: record.seq,
        message: `the seal does not follow the one in record ${before.seq} at ${before.where}: that one was changed with its hash, or this one is of another chain`,
      });
  };

  const unproven = (from: number, to: number, place: Place): void =>
    tell({
      kind: 'unproven',
      ...place,
      seq: from,
      last: to - 1,
      message: 'the seal of these records is missing: what is left of them is not proven',
    });

  const takeSeal = (record: AuditRecord, place: Place, seal: Seal | undefined): void => {
    const { seq } = record;
    const from = record['first'];
    const digests = digestsIn(record['digests']);
    if (
      seal === undefined ||
      digests === undefined ||
      typeof from !== 'number' ||
      from + digests.length !== seq
    ) {
      tell({ kind: 'chain', ...place, seq, message: 'it is no seal any more: it was changed' });
      return;
    }
    keyed ||= record['keyed'] === true;
    seals++;
    if (chainHash(key, seal.prevHash, seal.body) === seal.hash) sealed++;
    else tell({ kind: 'chain', ...place, seq, message: forgedSeal(from, seq, record, key) });
    follow(record, from, place, seal);
    prove(from, digests, seq, place);
    before = { hash: seal.hash, seq, where: place.where };
    if (record['end'] === true) ended = seq;
  };

  return {
    take(record, line, place, seal): void {
      const { seq, type } = record;
      if (ended !== undefined && seq > ended)
        tell({
          kind: 'chain',
          ...place,
          seq,
          message: `it comes after the last seal of its instance, record ${ended}: it was added`,
        });
      const cutDown = isObject(record['cut']) ? record['cut']['digest'] : undefined;
      const isCut = typeof cutDown === 'string';
      // A seal has counted itself.
      if (type === 'seal') takeSeal(record, place, seal);
      // Older versions wrote no salts, and no seals.
      if (!('salt' in record) && type !== 'seal' && record['erased'] !== true && !isCut) return;
      waiting.set(seq, {
        digest: isCut ? cutDown : recordDigest(line),
        place,
        isErased: record['erased'] === true,
        isCut,
        isSeal: type === 'seal',
      });
      if (waiting.size <= MAX_WAITING) return;
      const [oldest] = waiting.keys();
      if (oldest !== undefined) waiting.delete(oldest);
    },
    report: () => ({ seals, sealed, cut, ended: ended !== undefined, keyed, predecessor }),
  };
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
