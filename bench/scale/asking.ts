/** Asks a server over gRPC about the users of a tenant: all of them, one, or a few at a steady rate. */
import type { Request } from '../../src/engine/model.ts';
import { method } from '../messages.ts';
import { MESSAGE_HEAD_BYTES, openWireStream, type WireStream } from '../wire.ts';
import { sleep } from './stats.ts';
import { requestOf, type Size } from './world.ts';

/** Below `limits.stream_in_flight`. */
const IN_FLIGHT = 200;
/** Users that the load asks about. */
const WORKING_SET = 1_000;
const WARM_UP_CHECKS = 5_000;
/** As many checks as the gRPC bench warms up with: with fewer, code is still being compiled. */
const WARM_UP_MS = 6_000;

export interface Answer {
  readonly id: string;
  readonly allowed: boolean;
  readonly reason: string;
  readonly detail: string;
}

export interface Question {
  readonly id: string;
  readonly tenant: string;
  readonly subject: { readonly type: string; readonly id: string } | undefined;
  readonly key_id: string | undefined;
  readonly action: string;
  readonly resource: object;
}

/** CheckStream, and its messages. */
interface CheckStream {
  readonly path: string;
  readonly requestSerialize: (question: Question) => Buffer;
  readonly responseDeserialize: (bytes: Buffer) => Answer;
}

// The codec is made from the proto file: that says what these messages are.
export const checkStream = method('CheckStream') as unknown as CheckStream;

/** A CheckStream. */
function open(address: string, onAnswer: (answer: Answer) => void): Promise<WireStream> {
  const onMessage = (message: Buffer): void =>
    onAnswer(checkStream.responseDeserialize(message.subarray(MESSAGE_HEAD_BYTES)));
  return openWireStream(address, checkStream.path, onMessage, (problem) => {
    throw new Error(`${address}: ${problem}`);
  });
}

/** A question on the wire: not compressed, its length, its bytes. */
function framed(id: string, { tenant, subject, keyId, action, resource }: Request): Buffer {
  const { type, id: object, path } = resource;
  const message = checkStream.requestSerialize({
    id,
    tenant,
    subject,
    key_id: keyId,
    action,
    resource: { type, id: object, path },
  });
  const head = Buffer.alloc(MESSAGE_HEAD_BYTES);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

/** Asks about every user of a tenant, one after the other. @param onUsers told now and then how many are done */
export async function touchAll(
  address: string,
  size: Size,
  onUsers: (users: number) => void,
): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  let asked = 0;
  let answered = 0;
  const stream = await open(address, ({ id, allowed, reason, detail }) => {
    if (!allowed) throw new Error(`user ${id} is denied: ${reason} ${detail}`);
    answered++;
    if (answered % 1_000 === 0) onUsers(answered);
    fill();
    if (answered === size.users) resolve();
  });
  const fill = (): void => {
    while (asked < size.users && asked - answered < IN_FLIGHT) {
      if (stream.send([framed(String(asked), requestOf(size, asked))]) === 0) return;
      asked++;
    }
  };
  fill();
  await promise;
  stream.close();
}

/** Asks one question after the other, or many at a steady rate. */
export interface Asker {
  /** @returns whether it is allowed */
  ask(request: Request): Promise<boolean>;
  /**
   * Sees to it that so many questions a second are asked during the work, by asking about a few users what `ask` does
   * not. @returns how many a second it were
   */
  underLoad(checksPerSecond: number, work: () => Promise<unknown>): Promise<number>;
  /** A server that has just started is slow for other reasons than those that are looked for. */
  warmUp(): Promise<void>;
  close(): void;
}

export async function openAsker(address: string, size: Size): Promise<Asker> {
  const users = Math.min(WORKING_SET, Math.floor(size.users / 2));
  const questions = Array.from({ length: users }, (_, n) => framed(String(n), requestOf(size, n)));
  const waiting = new Map<string, (allowed: boolean) => void>();
  const asked = { load: 0, single: 0 };
  const answered = { load: 0, single: 0 };
  const load = await open(address, ({ id, allowed, reason }) => {
    if (!allowed) throw new Error(`user ${id} of the load is denied: ${reason}`);
    answered.load++;
  });
  // A connection of its own, as another service would have.
  const single = await open(address, ({ id, allowed }) => {
    answered.single++;
    waiting.get(id)?.(allowed);
    waiting.delete(id);
  });
  /** Asks so many of the questions in turn, as far as there is room. */
  const askNext = (count: number): void => {
    const next = Array.from(
      { length: Math.max(0, Math.min(count, IN_FLIGHT - asked.load + answered.load)) },
      (_, n) => questions[(asked.load + n) % questions.length],
    );
    asked.load += load.send(next.filter((question) => question !== undefined));
  };
  const underLoad: Asker['underLoad'] = async (checksPerSecond, work) => {
    const before = { asked: asked.load + asked.single, answered: answered.load + answered.single };
    const startedAt = performance.now();
    const seconds = (): number => (performance.now() - startedAt) / 1_000;
    const timer = setInterval(() => {
      const due = before.asked + Math.floor(seconds() * checksPerSecond);
      askNext(due - asked.load - asked.single);
    }, 1);
    try {
      await work();
      return (answered.load + answered.single - before.answered) / seconds();
    } finally {
      clearInterval(timer);
    }
  };
  return {
    ask: (request) =>
      new Promise((done) => {
        const id = String(asked.single++);
        waiting.set(id, done);
        if (single.send([framed(id, request)]) === 0)
          throw new Error(`${address} has no room for a question`);
      }),
    underLoad,
    async warmUp(): Promise<void> {
      await underLoad(WARM_UP_CHECKS, () => sleep(WARM_UP_MS));
    },
    close(): void {
      load.close();
      single.close();
    },
  };
}
