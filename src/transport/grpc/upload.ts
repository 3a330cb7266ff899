/**
 * One text that a client stream brings in pieces. It is whole only with the length and the digest that its closing
 * message announces (CONS-5): a stream that was cancelled or lost can end like one that was sent to its end.
 */
import { createHash } from 'node:crypto';
import { invalid, Refused } from '../../admin/refused.ts';
import { CODE, withReason } from './status.ts';

/** A message of the stream, as far as it is about the upload. */
export interface UploadMessage {
  readonly chunk: Buffer;
  /** In the last message only. */
  readonly end?: { readonly length: number; readonly sha256: Buffer } | null;
}

/** What the first message says of the whole upload. */
interface Head {
  readonly tenant: string;
  readonly options?: object | null;
  readonly prune?: boolean;
  readonly keep?: boolean;
}

const NOTHING = 'nothing is applied: send the state again';

/**
 * A later message may say again what the first one said, and nothing else: what it says would have no effect.
 * @throws Refused that names the field
 */
export function mustAgree(first: Head, message: Head): void {
  if (message.tenant !== '' && message.tenant !== first.tenant)
    throw invalid(
      'tenant',
      `\`${message.tenant}\` follows a first message with \`${first.tenant}\`; ${NOTHING}`,
    );
  for (const field of ['prune', 'keep'] as const)
    if (message[field] === true && first[field] !== true)
      throw invalid(field, `is only read in the first message; ${NOTHING}`);
  if (message.options && JSON.stringify(message.options) !== JSON.stringify(first.options))
    throw invalid('options', `are only read in the first message; ${NOTHING}`);
}

export class Upload {
  readonly #maxBytes: number;
  readonly #hash = createHash('sha256');
  #pieces: Uint8Array<ArrayBuffer>[] = [];
  #bytes = 0;
  #end: UploadMessage['end'];
  #isCut = false;

  /** @param maxBytes largest text that is kept, `admin.max_state_bytes` */
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Takes the next message. @throws RpcError, Refused: the upload is over */
  add({ chunk, end }: UploadMessage): void {
    if (this.#end) throw invalid('end', `a message follows the one with \`end\`; ${NOTHING}`);
    this.#bytes += chunk.length;
    if (this.#bytes > this.#maxBytes)
      throw withReason(
        CODE.RESOURCE_EXHAUSTED,
        'LIMIT',
        `the state has more than ${this.#maxBytes} bytes: raise \`admin.max_state_bytes\`, or apply it where the store is`,
      );
    this.#hash.update(chunk);
    // Of its own memory, so that it can be handed to a thread.
    if (chunk.length > 0) this.#pieces.push(new Uint8Array(chunk));
    this.#end = end;
  }

  /** The stream was cancelled or lost: what came is not applied. */
  cut(): void {
    this.#isCut = true;
    this.drop();
  }

  /** Lets go of what came. */
  drop(): void {
    this.#pieces = [];
  }

  /** The pieces of the whole text, once. @throws Refused where it is not whole */
  whole(): readonly Uint8Array<ArrayBuffer>[] {
    if (this.#isCut)
      throw new Refused(
        'aborted',
        'the upload was cut off before it ended: nothing is applied',
        'CONS-5',
      );
    const end = this.#end;
    if (!end)
      throw invalid(
        'end',
        `is missing: the last message must have \`end\` with the length and the SHA-256 of the whole state; ${NOTHING}`,
      );
    if (end.length !== this.#bytes)
      throw invalid(
        'end.length',
        `\`${end.length}\` bytes are announced, ${this.#bytes} came; ${NOTHING}`,
      );
    if (!this.#hash.digest().equals(end.sha256))
      throw invalid('end.sha256', `is not the SHA-256 of the ${this.#bytes} bytes; ${NOTHING}`);
    const pieces = this.#pieces;
    this.drop();
    return pieces;
  }
}
