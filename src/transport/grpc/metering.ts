/**
 * Bounds the bytes of messages that are being received, over all calls at once. A message is counted from its first
 * bytes on, by the length that it announces, so that what does not fit is refused before it is here; one that is
 * compressed counts by the most that it may inflate to, so that nothing inflates that has no room.
 */
import { CODE, RpcError, withReason } from './status.ts';

/** Bytes that all calls share. */
export interface Budget {
  /** Takes them, if there are so many. */
  take(bytes: number): boolean;
  give(bytes: number): void;
}

export function openBudget(limit: number): Budget {
  let used = 0;
  return {
    take(bytes): boolean {
      if (used + bytes > limit) return false;
      used += bytes;
      return true;
    },
    give(bytes): void {
      used -= bytes;
    },
  };
}

/**
 * How long the bytes of a message count:
 * `call`, until its call is over, because its one message lives so long;
 * `answered`, until whoever took it gives them back;
 * `received`, until it is whole: whoever takes it bounds it from then on.
 */
export type Holding = 'call' | 'answered' | 'received';

export interface MeterOptions {
  readonly budget: Budget;
  /** Largest message, bytes: as it travels, and inflated. */
  readonly maxMessageBytes: number;
  readonly holding: Holding;
  /** The messages of this call may be compressed, in a way that is accepted here. */
  readonly compressed: boolean;
  /** Ends the call with an error; nothing more of it is read. */
  readonly refuse: (error: RpcError) => void;
}

/** Length of what stands before a message: a flag, and four bytes of length. */
const PREFIX = 5;
/** No deflate stream inflates to more than so many times its length, and an empty one to no more than so much. */
const MOST_INFLATED = 1_032;
const SMALLEST = 64;
/** A message that began must be whole after so long, ms: one that never ends must not keep its room. */
const MESSAGE_MS = 30_000;

/** Counts the messages of one call. */
export class Meter {
  readonly #options: MeterOptions;
  /** What was taken for each message that is still held, in their order. */
  readonly #held: number[] = [];
  readonly #prefix = Buffer.alloc(PREFIX);
  #prefixBytes = 0;
  /** Bytes of the message that are still to come. */
  #left = 0;
  #over = false;
  #late: NodeJS.Timeout | undefined;

  constructor(options: MeterOptions) {
    this.#options = options;
  }

  /** @returns whether the piece may be read further: else the call has been refused */
  read(piece: Buffer): boolean {
    let at = 0;
    while (at < piece.length && !this.#over) {
      if (this.#left > 0) {
        const some = Math.min(this.#left, piece.length - at);
        this.#left -= some;
        at += some;
        if (this.#left === 0) this.#whole();
        continue;
      }
      const some = Math.min(PREFIX - this.#prefixBytes, piece.length - at);
      piece.copy(this.#prefix, this.#prefixBytes, at, at + some);
      this.#prefixBytes += some;
      at += some;
      if (this.#prefixBytes < PREFIX) break;
      this.#prefixBytes = 0;
      this.#begin(this.#prefix[0] !== 0, this.#prefix.readUInt32BE(1), piece.length - at);
    }
    return !this.#over;
  }

  /** Hands over the oldest message. @returns the bytes that its taker gives back to the budget */
  taken(): number {
    return this.#held.shift() ?? 0;
  }

  /** The call is over. */
  end(): void {
    this.#over = true;
    clearTimeout(this.#late);
    while (this.#held.length > 0) this.#options.budget.give(this.taken());
  }

  /** @param here bytes of the message that have come with its prefix */
  #begin(compressed: boolean, length: number, here: number): void {
    const { maxMessageBytes: most, budget } = this.#options;
    if (length > most)
      return this.#refuse(
        `a message has ${length} bytes: at most ${most} are read, see \`grpc.max_message_bytes\``,
      );
    if (compressed && !this.#options.compressed) {
      this.#over = true;
      const problem = 'is marked as compressed, and the call names no encoding';
      return this.#options.refuse(
        new RpcError(CODE.INTERNAL, `a message ${problem}: send \`grpc-encoding\``),
      );
    }
    const bytes = compressed
      ? length + Math.min(most, length * MOST_INFLATED + SMALLEST)
      : // What came whole with its prefix is here already, and no more than a frame.
        length > here
        ? length
        : 0;
    if (!budget.take(bytes))
      return this.#refuse(
        'this message and those being received exceed the limit: retry later, send smaller messages, or raise `limits.receiving_bytes`',
      );
    this.#held.push(bytes);
    this.#left = length;
    if (length === 0) this.#whole();
    else if (length > here)
      this.#late ??= setTimeout(() => {
        this.#refuse(`a message has not come whole within ${MESSAGE_MS / 1_000} s: send it again`);
      }, MESSAGE_MS).unref();
  }

  #whole(): void {
    clearTimeout(this.#late);
    this.#late = undefined;
    if (this.#options.holding === 'received') this.#options.budget.give(this.taken());
  }

  #refuse(message: string): void {
    if (this.#over) return;
    this.#over = true;
    this.#options.refuse(withReason(CODE.RESOURCE_EXHAUSTED, 'LIMIT', message));
  }
}

/** Whether a piece of data is one message, whole and not compressed: by far the most are. */
export function isOneMessage(piece: Buffer, maxMessageBytes: number): boolean {
  const length = piece.length - PREFIX;
  return (
    length >= 0 && length <= maxMessageBytes && piece[0] === 0 && piece.readUInt32BE(1) === length
  );
}
