/** Tasks of threads and their answers: plain data that is cloned on its way. */
import type { PolicyLimits } from '../../config/policy-limits.ts';
import type { DefaultRole } from '../../config/roles.ts';
import type { Catalog } from '../../engine/action.ts';
import type { StoreSettings } from '../../store/driver.ts';
import type { Actor } from '../actor.ts';
import type { Unlisted } from '../state/plan-state.ts';
import type { Exported } from '../state/export-state.ts';
import type { PolicySetReading } from '../rules/policy-set-reading.ts';
import type { Baseline } from '../migrations/baseline.ts';
import type { Done, WriteOptions } from '../write-result.ts';
import type { CommitFlag } from './commit-flag.ts';
import type { ErrorData } from './errors.ts';

export interface Tasks {
  readonly policy_set: {
    readonly task: {
      readonly document: string;
      readonly catalog: Catalog;
      readonly limits: PolicyLimits;
    };
    readonly answer: PolicySetReading;
  };
  readonly apply: {
    readonly task: {
      readonly store: ThreadStore;
      readonly tenant: string;
      readonly actor: Actor;
      readonly options: WriteOptions;
      /** The state file. */
      readonly pieces: readonly Uint8Array[];
      readonly unlisted: Unlisted;
      readonly catalog: Catalog;
      readonly limits: PolicyLimits;
      readonly defaults: readonly DefaultRole[];
      readonly baseline: Baseline;
    };
    readonly answer: Done;
  };
  readonly export: {
    readonly task: {
      readonly store: ThreadStore;
      readonly tenant: string;
      readonly format: string;
      readonly maxBytes: number;
    };
    readonly answer: Exported;
  };
}

/** The store that a thread opens for itself, so that its reads and its commit hold nobody else. */
export type ThreadStore = Omit<StoreSettings, 'onProblem'>;

export type Task = { [N in keyof Tasks]: { readonly name: N } & Tasks[N]['task'] }[keyof Tasks] & {
  readonly flag: CommitFlag;
};

/** The caller has gone: nothing is committed any more. */
export const ABORT = 'abort';

export type Answer =
  | { readonly value: unknown; readonly transfer?: readonly ArrayBuffer[] }
  | { readonly error: ErrorData };
