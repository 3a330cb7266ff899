/** Calls that change facts. */
import { actorName, requireAdministrator, type Actor } from '../actor.ts';
import type { AdminAnswer, AdminRequest, ManagementEvent } from '../admin-contract.ts';
import { WRITES, type WriteName } from '../operations.ts';
import { removeRecords, type Removal } from '../tenant/remove.ts';
import { readOnThread } from '../threads/read-document.ts';
import { tokenOf } from '../../store/format/token.ts';
import { write } from '../write.ts';
import type { Done, WriteOptions } from '../write-result.ts';
import { doneEvent, failedEvent, plainEvent } from './events.ts';
import { readWith, type Room } from './room.ts';

const NO_OPTIONS: WriteOptions = { dry_run: false, idempotency_key: '', expected_revision: 0 };

/**
 * Runs an operation after those of its tenant that came before, and records what became of it.
 * @param prepare reads what the operation needs besides facts, before it waits for its turn
 */
export async function runRecorded(
  { queues, record }: Room,
  operation: string,
  actor: Actor,
  request: AdminRequest,
  run: (options: WriteOptions, prepared: object) => Promise<Done>,
  prepare: () => Promise<object> = () => Promise.resolve({}),
): Promise<AdminAnswer> {
  const event = plainEvent(operation, actor, request);
  try {
    const prepared = await prepare();
    const options = request.options ?? NO_OPTIONS;
    const done = await queues.run(request.tenant, () => run(options, prepared));
    record(doneEvent(event, done));
    const { revision, consistency_token, result, body } = done;
    // The fields of an answer are those of its message.
    return { ...body, revision, consistency_token, result } as AdminAnswer;
  } catch (error) {
    record(failedEvent(event, error));
    throw error;
  }
}

export function doWrite(
  room: Room,
  name: WriteName,
  actor: Actor,
  request: AdminRequest,
): Promise<AdminAnswer> {
  const { operation, rule, creates, reads } = WRITES[name];
  const { tenant, options: _options, ...rest } = request;
  // The transport has made the request of the message that the rule is written for.
  const anyRule = rule as (context: unknown, request: unknown) => object;
  return runRecorded(
    room,
    operation,
    actor,
    request,
    (options, prepared) =>
      write(room, {
        tenant,
        name: operation,
        actor,
        options,
        request: rest,
        creates,
        rule: (context) => anyRule(context, { ...request, ...prepared }),
      }),
    () => (reads === 'document' ? readDocument(room, actor, request) : Promise.resolve({})),
  );
}

/** Reads a policy set's document on a thread, for those who may have it stored (ADM-11). @throws Refused */
async function readDocument(room: Room, actor: Actor, request: AdminRequest): Promise<object> {
  await readWith(room, request.tenant, actor, ({ authority }) =>
    requireAdministrator(authority, 'put a policy set'),
  );
  // A request with a document has its text.
  const { document } = request as AdminRequest & { readonly document: string };
  return { read: await readOnThread(room.documents, document, room.catalog(), room.policyLimits) };
}

/** Deletes a tenant by one commit, then removes what it had, or goes on with that (ADM-9). */
export async function deleteTenant(
  room: Room,
  actor: Actor,
  request: AdminRequest,
): Promise<AdminAnswer> {
  const { store, queues, record } = room;
  const { tenant } = request;
  const answer = await doWrite(room, 'DeleteTenant', actor, request);
  const event = plainEvent('tenant.remove_records', actor, request);
  const options = { actor: actorName(actor), dryRun: event.dryRun };
  const progress: Removal = { removed: new Map(), head: undefined };
  const soFar = (): Pick<ManagementEvent, 'revision' | 'removed'> => ({
    revision: progress.head?.revision ?? answer.revision,
    removed: progress.removed,
  });
  try {
    await queues.run(tenant, () => removeRecords(store, tenant, options, progress));
  } catch (error) {
    const message = `the tenant is deleted, and not all of its records are removed yet: do it again to go on: ${String(error)}`;
    record({ ...event, ...soFar(), refused: { kind: 'failed', rule: '', message } });
    throw error;
  }
  record({ ...event, ...soFar() });
  const { head } = progress;
  const removed = [...progress.removed].map(([kind, count]) => ({ kind, count }));
  const deleted = { ...answer, removed };
  if (head === undefined) return deleted;
  const newest = { revision: head.revision, consistency_token: tokenOf(tenant, head) };
  return { ...deleted, ...newest };
}
