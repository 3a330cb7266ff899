/** A tenant's whole state, as data and as the pieces of a file that `apply` reads. */
import type { StateFile } from '../../config/state.ts';
import { readAll, type Head, type Store } from '../../store/store.ts';
import { STATE_KINDS } from '../record-kinds.ts';
import { forbidden, invalid, notFound } from '../refused.ts';
import { toState } from './to-state.ts';
import { stateText } from './state-text.ts';

/** A tenant's whole state; `undefined`: it does not exist. */
export async function exportState(
  store: Store,
  tenant: string,
): Promise<{ readonly head: Head; readonly state: StateFile } | undefined> {
  const { head, records } = await readAll(store, tenant, STATE_KINDS);
  const isHere = head !== undefined && records.tenant.get('')?.deleted !== true;
  return !isHere ? undefined : { head, state: toState(tenant, records) };
}

/** A state as the pieces of a file. */
export interface Exported {
  readonly revision: number;
  /** UTF-8, together the whole file. */
  readonly pieces: readonly Uint8Array<ArrayBuffer>[];
}

/**
 * The state as a file.
 * @param format `yaml` (also if empty) or `json`
 * @param maxBytes what `apply` reads at most, `admin.max_state_bytes`
 * @throws Refused where the file would be larger than `apply` reads
 */
export async function exportPieces(
  store: Store,
  tenant: string,
  format: string,
  maxBytes: number,
): Promise<Exported> {
  if (format !== '' && format !== 'yaml' && format !== 'json')
    throw invalid('format', `\`${format}\` is none of yaml, json`);
  const exported = await exportState(store, tenant);
  if (exported === undefined) throw notFound(`there is no tenant \`${tenant}\``);
  const { state, head } = exported;
  const pieces: Uint8Array<ArrayBuffer>[] = [];
  let bytes = 0;
  for (const text of stateText(state, format === 'json' ? 'json' : 'yaml')) {
    const piece = new TextEncoder().encode(text);
    bytes += piece.length;
    if (bytes > maxBytes)
      throw forbidden(
        '',
        `the state has more than ${maxBytes} bytes, which is all that apply reads: raise \`admin.max_state_bytes\`, or export and apply where the store is`,
      );
    pieces.push(piece);
  }
  return { revision: head.revision, pieces };
}
