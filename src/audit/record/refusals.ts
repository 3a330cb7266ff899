/**
 * Records of callers that the service does not know (`grpc.callers`). Anybody can make as many of them as the line carries:
 * the first of a cause is recorded at once, those that follow are counted and recorded together.
 */
import type { Redact } from './redact.ts';
import type { AuditLog } from '../log.ts';
import { authenticationLine } from './management-record.ts';

/** Why a caller was refused, as records tell it. */
export const CALLER_PROBLEMS = {
  missing: 'a caller of the service sent no bearer token (grpc.callers)',
  unknown: 'a caller of the service sent a token that is none of grpc.callers',
} as const;
export type CallerProblem = keyof typeof CALLER_PROBLEMS;

export interface Refusals {
  note(problem: CallerProblem): void;
  /** Records what was only counted, before the log is closed. */
  close(): void;
}

/** Of a cause one record in so long, ms. */
const EVERY_MS = 10_000;

export function openRefusals(
  log: AuditLog,
  redact: Redact | undefined,
  everyMs = EVERY_MS,
): Refusals {
  const counts = new Map<CallerProblem, number>();
  /** Runs while refusals of late are known. */
  let timer: NodeJS.Timeout | undefined;

  const record = (problem: CallerProblem, count: number): void => {
    const event = { time: new Date().toISOString(), instance: log.instance, id: log.nextId() };
    const content = { tenant: '', why: CALLER_PROBLEMS[problem], problem, count };
    void log.write((seq, salt) => authenticationLine(content, { ...event, seq, salt }, redact));
  };

  /** Where the log takes no records now, they are counted on. */
  const flush = (): void => {
    timer = undefined;
    if (log.isOpen())
      for (const [problem, count] of counts) {
        if (count > 0) record(problem, count);
        // As long as they come, they are recorded together.
        if (count > 0) counts.set(problem, 0);
        else counts.delete(problem);
      }
    if (counts.size > 0) timer = setTimeout(flush, everyMs).unref();
  };

  return {
    note(problem): void {
      if (!log.isOn) return;
      const before = counts.get(problem);
      if (before === undefined && log.isOpen()) {
        counts.set(problem, 0);
        record(problem, 1);
      } else counts.set(problem, (before ?? 0) + 1);
      timer ??= setTimeout(flush, everyMs).unref();
    },
    close(): void {
      clearTimeout(timer);
      if (!log.isOpen()) return;
      for (const [problem, count] of counts) if (count > 0) record(problem, count);
      counts.clear();
    },
  };
}
