/** The audit log of a process: numbers its records, gives each to all sinks, and says when an answer may go. */
import { randomBytes } from 'node:crypto';
import type { Kept, Sink } from './sinks/queue.ts';
import { openSalts, openSealer, type SealOptions } from './seals/seal.ts';

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
  let seq = 0;
  let ids = 0;
  const waiting = new Set<() => void>();
  let closed = false;
  const isOpen = (): boolean => !closed && sinks.every((sink) => sink.isOpen());
  const wake = (): void => {
    if (isOpen()) for (const look of waiting) look();
  };
  for (const sink of sinks) sink.onOpen(wake);
  const all = (kept: readonly Kept[]): Kept => {
    const promises = kept.filter((one) => one !== undefined);
    return promises.length < 2
      ? promises[0]
      : Promise.all(promises).then((each) => each.every(Boolean));
  };
  const [only] = sinks;
  const deliver = (line: string): Kept =>
    sinks.length === 1 ? only?.write(line) : all(sinks.map((sink) => sink.write(line)));

  const nextSalt = openSalts();
  const sealer = seals === undefined ? undefined : openSealer(instance, seals);
  let sealing: NodeJS.Timeout | undefined;
  const seal = (end: boolean): void => {
    clearTimeout(sealing);
    sealing = undefined;
    // Nobody waits for it: what it proves was kept, or is, before it.
    if (sealer !== undefined && seq > 0) void deliver(sealer.seal(++seq, end));
  };
  const sealed = (line: string): string => {
    if (sealer === undefined || seals === undefined) return line;
    sealer.add(line);
    sealing ??= setTimeout(seal, seals.ms, false).unref();
    return line;
  };

  return {
    instance,
    isOn: sinks.length > 0,
    nextId: () => `${instance}-${(++ids).toString(36)}`,
    isOpen,
    async whenOpen(ms): Promise<boolean> {
      if (closed || waiting.size >= maxWaiting) return false;
      const { promise, resolve } = Promise.withResolvers<boolean>();
      const look = (): void => resolve(true);
      const late = setTimeout(() => resolve(false), ms);
      waiting.add(look);
      const opened = await promise;
      clearTimeout(late);
      waiting.delete(look);
      return opened;
    },
    write(make): Kept {
      // Behind the last seal there is nothing.
      if (closed) return Promise.resolve(false);
      seq++;
      const kept = deliver(sealed(make(seq, nextSalt())));
      if (sealer?.isDue() === true) seal(false);
      return kept;
    },
    settled: () => all(sinks.map((sink) => sink.settled())),
    holding: () => sinks.filter((sink) => !sink.isOpen()).map(({ name }) => name),
    sinks,
    lastSeq: () => seq,
    async close(ms): Promise<number> {
      seal(true);
      closed = true;
      // One that cannot be closed keeps no other from it.
      const ends = await Promise.allSettled(sinks.map((sink) => sink.close(ms)));
      return ends.reduce((lost, one) => lost + (one.status === 'fulfilled' ? one.value : 0), 0);
    },
  };
}
