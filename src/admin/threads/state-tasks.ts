/** Whole states on a thread: read, checked, planned and committed, and exported, on a store that the thread opens. */
import { openStore } from '../../store/registry.ts';
import type { Store } from '../../store/store.ts';
import { applyText } from '../state/apply-text.ts';
import { exportPieces, type Exported } from '../state/export-state.ts';
import { utf8Of } from '../input.ts';
import { isListed } from '../record-kinds.ts';
import type { Done } from '../write-result.ts';
import { flagged, type CommitFlag } from './commit-flag.ts';
import type { Tasks, ThreadStore } from './tasks.ts';

/** Changes and removals that an answer lists; it says how many more there are. */
const MAX_LISTED = 4_000;
/** Differences that are passed on for the audit log, which writes fewer, and how many more there are. */
const MAX_DIFFERENCES = 100;

export async function runApply(
  task: Tasks['apply']['task'],
  flag: CommitFlag,
  signal: AbortSignal,
): Promise<Done> {
  const { tenant, actor, options, unlisted, catalog, limits, defaults, baseline } = task;
  const text = utf8Of('chunk', Buffer.concat(task.pieces));
  return withStore(task.store, async (opened) => {
    const store = flagged(opened, flag);
    const environment = { store, catalog: () => catalog, defaults, baseline, limits };
    const how = { unlisted, signal };
    return bounded(await applyText(environment, tenant, actor, options, text, how));
  });
}

export function runExport({
  store,
  tenant,
  format,
  maxBytes,
}: Tasks['export']['task']): Promise<Exported> {
  return withStore(store, (opened) => exportPieces(opened, tenant, format, maxBytes));
}

async function withStore<T>(settings: ThreadStore, use: (store: Store) => Promise<T>): Promise<T> {
  // What it fails with is the answer.
  const store = await openStore({ ...settings, onProblem: () => {} });
  try {
    return await use(store);
  } finally {
    await store.close();
  }
}

/** The answer to a change of everything, cut to what may be passed on without holding the thread that does. */
function bounded(done: Done): Done {
  const { result, body, differences } = done;
  const listed = differences.filter(isListed);
  const { removals } = body as { readonly removals: readonly unknown[] };
  return {
    ...done,
    result: { ...result, changes: result.changes.slice(0, MAX_LISTED) },
    body: {
      ...body,
      removals: removals.slice(0, MAX_LISTED),
      changes_left_out: Math.max(0, result.changes.length - MAX_LISTED),
      removals_left_out: Math.max(0, removals.length - MAX_LISTED),
    },
    differences: listed.slice(0, MAX_DIFFERENCES),
    moreDifferences: Math.max(0, listed.length - MAX_DIFFERENCES),
  };
}
