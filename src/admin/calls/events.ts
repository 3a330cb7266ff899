/** What the log records of calls: every operation, and every refusal for want of a right (ADM-7). */
import type { Actor } from '../actor.ts';
import { UnknownOutcomeError } from '../../store/store.ts';
import { UnknownWriteError } from '../commit.ts';
import type { AdminRequest, ManagementEvent } from '../admin-contract.ts';
import { Refused } from '../refused.ts';
import type { Done } from '../write-result.ts';
import type { Room } from './room.ts';

/** Of an operation that changed nothing. */
export function plainEvent(
  operation: string,
  actor: Actor,
  request: AdminRequest,
): ManagementEvent {
  const { tenant, options } = request;
  return {
    tenant,
    actor,
    operation,
    requestId: options?.request_id ?? '',
    revision: 0,
    dryRun: options?.dry_run ?? false,
    repeated: false,
    refused: undefined,
    differences: [],
  };
}

/** Of an operation that was done. A dry run has changed nothing. */
export function doneEvent(event: ManagementEvent, done: Done): ManagementEvent {
  const { revision, result, differences, moreDifferences = 0 } = done;
  const { repeated } = result;
  return event.dryRun
    ? { ...event, revision, repeated, moreDifferences: 0 }
    : { ...event, revision, repeated, differences, moreDifferences };
}

/** Of an operation that was refused, or failed. One that may have been done is recorded whole: nobody records it later. */
export function failedEvent(event: ManagementEvent, error: unknown): ManagementEvent {
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof UnknownOutcomeError) {
    const refused = { kind: 'unknown_outcome', rule: '', message };
    // From a thread comes that it is not known, and no more.
    if (!(error instanceof UnknownWriteError)) return { ...event, refused };
    const { revision, differences } = error;
    return { ...event, revision, differences, refused };
  }
  const refused =
    error instanceof Refused
      ? { kind: error.kind, rule: error.rule, message }
      : { kind: 'failed', rule: '', message };
  return { ...event, refused };
}

/** Runs what is no write, and records where the actor may not do it. */
export async function recordingDenials<T>(
  { record }: Room,
  operation: string,
  actor: Actor,
  request: AdminRequest,
  run: () => Promise<T>,
): Promise<T> {
  try {
    return await run();
  } catch (error) {
    if (error instanceof Refused && error.kind === 'permission_denied')
      record(failedEvent({ ...plainEvent(operation, actor, request), dryRun: false }, error));
    throw error;
  }
}
