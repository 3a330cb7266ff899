/** The management half of the composition: who calls, what it may do, and the records of both. */
import { openAdmin } from '../admin/admin.ts';
import type { Actor } from '../admin/actor.ts';
import type { Admin, AdminRequest } from '../admin/admin-contract.ts';
import type { Baseline } from '../admin/migrations/baseline.ts';
import { Refused } from '../admin/refused.ts';
import type { ThreadStore } from '../admin/threads/tasks.ts';
import type { PolicyLimits } from '../config/policy-limits.ts';
import type { DefaultRole } from '../config/roles.ts';
import type { Catalog } from '../engine/action.ts';
import { printable, requestIdProblem } from '../engine/validate.ts';
import type { Identity } from '../identity/identity.ts';
import { mintKey, mintSession, newId } from '../identity/token.ts';
import type { Store } from '../store/store.ts';
import { Callers, type Caller } from './authentication.ts';
import { ManagementRecorder, type RecorderOptions } from './recorder.ts';

export interface ManageOptions extends RecorderOptions {
  readonly store: Store;
  readonly catalog: () => Catalog;
  readonly defaults: readonly DefaultRole[];
  /** Migrations that the defaults include. */
  readonly baseline: Baseline;
  /** How large a policy set may be. */
  readonly policyLimits: PolicyLimits;
  /** Largest state that is exported or applied. */
  readonly maxStateBytes: number;
  /** The same store, for threads. */
  readonly threadStore: ThreadStore;
  readonly identity: Identity;
  /** The operator's; `undefined`: there is no operator. */
  readonly adminToken: string | undefined;
  /** Milliseconds since the epoch, never going back. */
  readonly now: () => number;
}

export interface Management {
  readonly admin: Admin;
  /**
   * Judges a caller by its `authorization` alone, before what it sends is read: whether it proves anybody, in the
   * tenant that the credential itself names.
   * @throws Refused as `authenticate` does
   */
  admit(authorization: string): Promise<void>;
  /** @throws Refused UNAUTHENTICATED, in the same words for every cause */
  authenticate(caller: Caller): Promise<Actor>;
}

export function openManagement(options: ManageOptions): Management {
  const { store, catalog, defaults, baseline, policyLimits, maxStateBytes, threadStore } = options;
  const { identity, adminToken, now } = options;
  const recorder = new ManagementRecorder(options);
  const callers = new Callers({ store, identity, adminToken, recorder });
  const admin = openAdmin({
    store,
    catalog,
    defaults,
    baseline,
    policyLimits,
    maxStateBytes,
    threadStore,
    now,
    mint: { key: mintKey, session: mintSession, id: newId },
    record: (event) => recorder.operation(event),
  });
  return {
    admin: keepingRecords(admin, recorder),
    admit: (authorization) => recorder.keeping(() => callers.admit(authorization)),
    authenticate: (caller) => recorder.keeping(() => callers.authenticate(caller)),
  };
}

/** The admin room, with answers that wait for their records. */
function keepingRecords(admin: Admin, recorder: ManagementRecorder): Admin {
  return {
    ...admin,
    call: (name, actor, request) =>
      recorder.keeping(() => admin.call(name, actor, withBoundedId(request))),
    mayApply: (actor, request) =>
      recorder.keeping(() => admin.mayApply(actor, withBoundedId(request))),
    apply: (actor, request, ...upload) =>
      recorder.keeping(() => admin.apply(actor, withBoundedId(request), ...upload)),
    export: (...call) => recorder.keeping(() => admin.export(...call)),
  };
}

/** @throws Refused INVALID_ARGUMENT where its correlation id, which is recorded, is none */
function withBoundedId<R extends AdminRequest>(request: R): R {
  const field = 'options.request_id';
  const problem = requestIdProblem(field, request.options?.request_id ?? '');
  if (problem === undefined) return request;
  const message = `${field}: \`${printable(problem.value)}\` ${problem.problem}`;
  throw new Refused('invalid_argument', message, '', field);
}
