/** The audit log of a process: numbers its records, gives each to all sinks, and says when an answer may go. */
import { randomBytes } from 'node:crypto';
import type { Kept, Sink } from './sinks/queue.ts';
import { openSalts, openSealer, type Sealer, type SealOptions } from './seals/seal.ts';

export interface AuditLog {
  /** Names the process in decision ids and records. */
  readonly instance: string;
  /** Anybody reads records: else none need be made. */
  readonly isOn: boolean;
  /** A new decision's id: unique, and in their order. */
  nextId(): string;
  /** Whether records are taken now. Else some sink holds answers back: see `whenOpen`. */
  isOpen(): boolean;
  /** Waits for it to open; `true`: look again, others may have come first; `false`: it took too long, or too many wait. */
  whenOpen(ms: number): Promise<boolean>;
  /**
   * Numbers a record and gives it to the sinks; only while it is open.
   * @param make the record's line, of its number: dense, so that a reader can prove that none is missing; and of its
   * salt (`seal.ts`)
   * @returns whether it is kept, where an answer must wait for that
   */
  write(make: (seq: number, salt: string) => string): Kept;
  /** The same for all records so far. */
  settled(): Kept;
  /** Sinks that hold answers back now. */
  holding(): readonly string[];
  readonly sinks: readonly Sink[];
  /** The last record of this process, for comparison with what is kept; 0: there is none. */
  lastSeq(): number;
  /**
   * Writes the last seal, and keeps what is still here, as far as the time allows; it is not open from then on.
   * @returns records that this has lost
   */
  close(ms: number): Promise<number>;
}

export function newInstance(): string {
  return randomBytes(6).toString('hex');
}

/**
 * @param maxWaiting answers that wait for a sink at once; more are refused
 * @param seals how records are sealed; `undefined`: they are not
 */
export function openLog(
  instance: string,
  sinks: readonly Sink[],
  maxWaiting: number,
  seals?: SealOptions,
): AuditLog {
  return new ProcessLog(instance, sinks, maxWaiting, seals);
}

class ProcessLog implements AuditLog {
  readonly instance: string;
  readonly isOn: boolean;
  readonly sinks: readonly Sink[];
  readonly #maxWaiting: number;
  readonly #waiting = new Set<() => void>();
  readonly #nextSalt = openSalts();
  readonly #sealer: Sealer | undefined;
  readonly #sealMs: number;
  #sealing: NodeJS.Timeout | undefined;
  #seq = 0;
  #ids = 0;
  #closed = false;

  constructor(
    instance: string,
    sinks: readonly Sink[],
    maxWaiting: number,
    seals: SealOptions | undefined,
  ) {
    this.instance = instance;
    this.isOn = sinks.length > 0;
    this.sinks = sinks;
    this.#maxWaiting = maxWaiting;
    this.#sealer = seals === undefined ? undefined : openSealer(instance, seals);
    this.#sealMs = seals?.ms ?? 0;
    for (const sink of sinks) sink.onOpen(() => this.#wake());
  }

  nextId(): string {
    return `${this.instance}-${(++this.#ids).toString(36)}`;
  }

  isOpen(): boolean {
    return !this.#closed && this.sinks.every((sink) => sink.isOpen());
  }

  async whenOpen(ms: number): Promise<boolean> {
    if (this.#closed || this.#waiting.size >= this.#maxWaiting) return false;
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const look = (): void => resolve(true);
    const late = setTimeout(() => resolve(false), ms);
    this.#waiting.add(look);
    const opened = await promise;
    clearTimeout(late);
    this.#waiting.delete(look);
    return opened;
  }

  write(make: (seq: number, salt: string) => string): Kept {
    // No record follows the last seal.
    if (this.#closed) return Promise.resolve(false);
    this.#seq++;
    const kept = this.#deliver(this.#sealed(make(this.#seq, this.#nextSalt())));
    if (this.#sealer?.isDue() === true) this.#seal(false);
    return kept;
  }

  settled(): Kept {
    return allKept(this.sinks.map((sink) => sink.settled()));
  }

  holding(): readonly string[] {
    return this.sinks.filter((sink) => !sink.isOpen()).map(({ name }) => name);
  }

  lastSeq(): number {
    return this.#seq;
  }

  async close(ms: number): Promise<number> {
    this.#seal(true);
    this.#closed = true;
    // One that cannot be closed does not keep the others from closing.
    const ends = await Promise.allSettled(this.sinks.map((sink) => sink.close(ms)));
    return ends.reduce((lost, one) => lost + (one.status === 'fulfilled' ? one.value : 0), 0);
  }

  #wake(): void {
    if (this.isOpen()) for (const look of this.#waiting) look();
  }

  #deliver(line: string): Kept {
    const [only] = this.sinks;
    return this.sinks.length === 1
      ? only?.write(line)
      : allKept(this.sinks.map((sink) => sink.write(line)));
  }

  /** Counts a line in for the next seal. */
  #sealed(line: string): string {
    if (this.#sealer === undefined) return line;
    this.#sealer.add(line);
    this.#sealing ??= setTimeout(() => this.#seal(false), this.#sealMs).unref();
    return line;
  }

  #seal(end: boolean): void {
    clearTimeout(this.#sealing);
    this.#sealing = undefined;
    // No answer waits for a seal: the records that it proves were delivered before it.
    if (this.#sealer !== undefined && this.#seq > 0)
      void this.#deliver(this.#sealer.seal(++this.#seq, end));
  }
}

function allKept(kept: readonly Kept[]): Kept {
  const promises = kept.filter((one) => one !== undefined);
  return promises.length < 2
    ? promises[0]
    : Promise.all(promises).then((each) => each.every(Boolean));
}
