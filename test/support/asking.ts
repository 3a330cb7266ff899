/** Questions to a facts room, answered in one word. */
import { decide } from '../../src/engine/decide.ts';
import type { Request, Subject } from '../../src/engine/model.ts';
import type { Head } from '../../src/store/store.ts';
import type { FactsRoom, Loaded, Unavailability, Who } from '../../src/facts/facts.ts';

/** The decision's reason with the revision that it names, or why there is none. */
export type Answer = `${string}@${number}` | Unavailability;

export interface Question {
  readonly tenant?: string;
  /** A user's id. */
  readonly user?: string;
  readonly subject?: Subject;
  readonly key?: string;
  /** `doc:read` by default. */
  readonly action?: string;
  readonly minRevision?: number;
  readonly since?: Head;
  readonly waitMs?: number;
}

export function whoOf({ tenant = 't', user, subject, key }: Question): Who {
  return {
    tenant,
    subject: user === undefined ? subject : { type: 'user', id: user },
    keyId: key,
  };
}

export function requestOf(question: Question): Request {
  const { action = 'doc:read' } = question;
  const resource = { type: 'doc', id: 'd', path: undefined, attributes: new Map(), sources: [] };
  return { ...whoOf(question), action, resource };
}

export function answerOf(question: Question, loaded: Loaded): Answer {
  if ('unavailable' in loaded) return loaded.reason;
  return `${decide(requestOf(question), loaded.facts).reason}@${loaded.revision}`;
}

export async function ask(room: FactsRoom, question: Question): Promise<Answer> {
  const { minRevision = 0, waitMs = 1_000, since } = question;
  return answerOf(question, await room.resolve(whoOf(question), minRevision, waitMs, since));
}

/** The answer of a warm resolve. @throws where it is not there at once */
export function askNow(room: FactsRoom, question: Question): Answer {
  const loaded = room.resolve(whoOf(question), question.minRevision ?? 0, 0);
  if (loaded instanceof Promise) throw new Error('this resolve is not warm: it answers later');
  return answerOf(question, loaded);
}

/** The answer, or `HANGS` when it does not come in time. */
export async function askWithin(
  room: FactsRoom,
  question: Question,
  ms: number,
): Promise<Answer | 'HANGS'> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<'HANGS'>((done) => {
    timer = setTimeout(() => done('HANGS'), ms);
  });
  try {
    return await Promise.race([ask(room, question), late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Resolves once what was ready to run has run. */
export async function settled(): Promise<void> {
  for (let turn = 0; turn < 3; turn++) await new Promise((done) => setImmediate(done));
}
