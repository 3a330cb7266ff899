/** Calls about whole states. */
import { requireAll, isOperator, type Actor } from '../actor.ts';
import type { AdminAnswer, AdminRequest } from '../admin-contract.ts';
import { utf8Of } from '../input.ts';
import { applyText, unlistedOf, type ApplyFlags } from '../state/apply-text.ts';
import { exportPieces, type Exported } from '../state/export-state.ts';
import type { Done, WriteOptions } from '../write-result.ts';
import { plainEvent, recordingDenials } from './events.ts';
import { readWith, type Room } from './room.ts';
import { runRecorded } from './write-calls.ts';

/** Whether an actor may apply a state at all, before the state is here. @throws Refused */
export function mayApply(room: Room, actor: Actor, request: AdminRequest): Promise<void> {
  return recordingDenials(room, 'state.apply', actor, request, async () => {
    if (isOperator(actor)) return;
    await readWith(room, request.tenant, actor, ({ authority }) =>
      requireAll(authority, 'ADM-5', 'apply a whole state'),
    );
  });
}

/** @param read returns the bytes of the state file, or throws where they are not whole (CONS-5) */
export function apply(
  room: Room,
  actor: Actor,
  request: AdminRequest & ApplyFlags,
  read: () => readonly Uint8Array<ArrayBuffer>[],
  signal?: AbortSignal,
): Promise<AdminAnswer> {
  return runRecorded(room, 'state.apply', actor, request, (options) =>
    applyPieces(room, actor, request, options, read(), signal),
  );
}

async function applyPieces(
  room: Room,
  actor: Actor,
  request: AdminRequest & ApplyFlags,
  options: WriteOptions,
  pieces: readonly Uint8Array<ArrayBuffer>[],
  signal: AbortSignal | undefined,
): Promise<Done> {
  const unlisted = unlistedOf(request);
  const { tenant } = request;
  const { store, threadStore, catalog, defaults, baseline = [], policyLimits: limits } = room;
  if (threadStore === undefined) {
    const text = utf8Of('chunk', Buffer.concat(pieces));
    const environment = { store, catalog, defaults, baseline, limits };
    return applyText(environment, tenant, actor, options, text, { unlisted, signal });
  }
  const asked = { tenant, actor, options, pieces, unlisted, catalog: catalog() };
  return room.unchanged.apply(store, asked, () =>
    room.states.run(
      'apply',
      {
        ...asked,
        store: threadStore,
        limits,
        defaults,
        baseline: baseline.map(({ name, digest }) => ({ name, digest })),
      },
      { signal, transfer: pieces.map(({ buffer }) => buffer) },
    ),
  );
}

export async function exportTenant(
  room: Room,
  actor: Actor,
  { tenant, format }: { readonly tenant: string; readonly format: string },
): Promise<Exported> {
  const { store, threadStore, maxStateBytes: maxBytes } = room;
  const exported = await recordingDenials(room, 'state.export', actor, { tenant }, async () => {
    await readWith(room, tenant, actor, ({ authority }) =>
      requireAll(authority, 'ADM-1', 'export the tenant'),
    );
    return threadStore === undefined
      ? exportPieces(store, tenant, format, maxBytes)
      : room.states.run('export', { store: threadStore, tenant, format, maxBytes });
  });
  const { revision } = exported;
  room.record({ ...plainEvent('state.export', actor, { tenant }), revision });
  return exported;
}
