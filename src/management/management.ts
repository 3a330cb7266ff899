/** The management half of the composition: who calls, what it may do, and the records of both. */
import { type Actor, actorName } from '../admin/actor.ts';
import { openAdmin, type Admin, type AdminRequest, type ManagementEvent } from '../admin/admin.ts';
import type { Baseline } from '../admin/migrations/baseline.ts';
import { nameOf } from '../admin/principals.ts';
import { Refused } from '../admin/refused.ts';
import { isListed } from '../admin/record-kinds.ts';
import type { Redact } from '../audit/fields.ts';
import type { AuditLog } from '../audit/log.ts';
import {
  authenticationLine,
  managementLine,
  type RecordEvent,
} from '../audit/record/management-record.ts';
import type { PolicyLimits } from '../config/policy-limits.ts';
import type { DefaultRole } from '../config/roles.ts';
import type { Catalog } from '../engine/action.ts';
import type { CredentialProblem } from '../engine/credential-problem.ts';
import { storedIdProblem } from '../engine/id.ts';
import { printable, requestIdProblem } from '../engine/validate.ts';
import type { KeyRecord, UserRecord } from '../engine/records.ts';
import type { Claim, Identity, Unproven } from '../identity/identity.ts';
import { bearerOf, openOperator } from '../identity/operator.ts';
import { mintKey, mintSession, newId } from '../identity/token.ts';
import type { FactKey, Store } from '../store/store.ts';
import type { ThreadStore } from '../admin/threads/tasks.ts';

export interface ManageOptions {
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
  readonly log: AuditLog;
  /** What records leave out; `undefined`: nothing. */
  readonly redact: Redact | undefined;
  /** Seals the text of a management record with that of the one before it. */
  readonly seal: (body: string) => string;
  /** Milliseconds since the epoch, never going back. */
  readonly now: () => number;
}

const NOT_KEPT =
  'the audit log has not kept the record of this operation yet: look whether it was done before you retry, or retry with its idempotency key';
/** How long an operation waits for an audit log that takes no records, ms. */
const AUDIT_WAIT_MS = 5_000;

/** What a caller says of itself. */
export interface Caller {
  readonly authorization: string;
  readonly actor: string;
  readonly tenant: string;
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
  const { store, catalog, defaults, baseline, identity, log, now } = options;

  const record = (make: (event: RecordEvent) => string): void => {
    if (!log.isOn) return;
    const { instance } = log;
    const time = new Date().toISOString();
    const id = log.nextId();
    void log.write((seq, salt) => make({ time, instance, id, seq, salt }));
  };

  /** Nothing is done that could not be recorded. @throws Refused UNAVAILABLE */
  const mayRecord = async (): Promise<void> => {
    const deadline = performance.now() + AUDIT_WAIT_MS;
    while (!log.isOpen())
      if (!(await log.whenOpen(Math.max(1, deadline - performance.now()))))
        throw new Refused(
          'unavailable',
          'the audit log takes no records, and nothing was done: retry once its sink is back',
        );
  };

  /** Answers once what was done, or refused, is recorded. @throws Refused UNAVAILABLE where it is not in time */
  const recorded = async <T>(run: () => Promise<T>): Promise<T> => {
    await mayRecord();
    const [done] = await Promise.allSettled([run()]);
    if ((await log.settled()) === false) throw new Refused('unavailable', NOT_KEPT);
    if (done.status === 'rejected') throw done.reason;
    return done.value;
  };

  const recordOperation = (event: ManagementEvent): void => {
    const { actor, differences, moreDifferences = 0, ...rest } = event;
    const content = {
      ...rest,
      // What is no tenant's name may be of any length.
      tenant: storedIdProblem(event.tenant) === undefined ? event.tenant : '',
      actor: actorName(actor),
      via: actor.via,
      keyId: actor.keyId,
      changes: differences.filter(isListed),
      moreChanges: moreDifferences,
    };
    // Its chain salts it.
    record((about) =>
      options.seal(managementLine(content, { ...about, salt: undefined }, options.redact)),
    );
  };

  const refuse = (tenant: string, problem: CredentialProblem): Refused => {
    const why = problem === 'missing' ? 'no bearer token' : 'the credential proves nobody here';
    // What is no tenant's name is not repeated: it may be anything, and of any length.
    const named = storedIdProblem(tenant) === undefined ? tenant : '';
    record((about) => authenticationLine({ tenant: named, why, problem }, about, options.redact));
    return new Refused(
      'unauthenticated',
      'the credential is missing, unknown, expired, revoked or of another tenant: send `authorization: Bearer TOKEN`',
    );
  };

  /** Somebody who is known, and may not do what it asks for. */
  const denied = (tenant: string, why: string): Refused => {
    record((about) => authenticationLine({ tenant, why }, about, options.redact));
    return new Refused('permission_denied', why, 'ADM-1');
  };

  /** @throws Refused UNAVAILABLE where nobody can tell whom it proves */
  const identified = async (token: string): Promise<Claim | Unproven> => {
    const claim = await identity.identify({ bearerToken: token });
    if ('unproven' in claim && claim.unproven === 'keys_unavailable')
      throw new Refused(
        'unavailable',
        'the keys of the issuer of this token cannot be had now: retry',
      );
    return claim;
  };

  /** The user that a credential proves, and the key that it came by. */
  const provenBy = async (
    claim: Claim | Unproven,
    tenant: string,
  ): Promise<Actor | { readonly problem: CredentialProblem }> => {
    const found = 'unproven' in claim ? undefined : claim;
    const own = found?.tenant === tenant ? found : undefined;
    const keyId = own?.keyId;
    const id = own?.subject?.id;
    const keys: FactKey[] = [
      ...(keyId === undefined ? [] : [{ kind: 'key' as const, id: keyId }]),
      ...(id === undefined ? [] : [{ kind: 'user' as const, id }]),
    ];
    // One look at the store, whatever the credential is worth: time tells nothing.
    const { values } = await store.get(storedIdProblem(tenant) === undefined ? tenant : '-', keys);
    // The store returns records of the kinds that were asked for.
    const key = keyId === undefined ? undefined : (values[0] as KeyRecord | undefined);
    const user = id === undefined ? undefined : (values.at(-1) as UserRecord | undefined);
    if (own === undefined)
      return { problem: 'unproven' in claim ? claim.unproven : 'wrong_tenant' };
    if (!own.proves({ key, user })) return { problem: own.problemOf({ key, user }) ?? 'unknown' };
    if (keyId === undefined) return { user: id, keyId: undefined, via: own.via };
    if (key?.user === undefined)
      throw denied(
        tenant,
        `key \`${keyId}\` acts for no user and manages nothing: a user, or a key that is bound to one, could`,
      );
    return { user: key.user, keyId, via: `key ${keyId}` };
  };

  const isOperator = openOperator(options.adminToken);

  const admit = async (authorization: string): Promise<void> => {
    const token = bearerOf(authorization);
    if (token === undefined) throw refuse('', 'missing');
    if (isOperator(token)) return;
    const claim = await identified(token);
    const tenant = 'tenant' in claim ? claim.tenant : '';
    const proven = await provenBy(claim, tenant);
    if ('problem' in proven) throw refuse(tenant, proven.problem);
  };

  const authenticate = async ({ authorization, actor, tenant }: Caller): Promise<Actor> => {
    const token = bearerOf(authorization);
    if (token === undefined) throw refuse(tenant, 'missing');
    if (isOperator(token)) return operator(actor);
    const proven = await provenBy(await identified(token), tenant);
    if ('problem' in proven) throw refuse(tenant, proven.problem);
    if (actor !== '' && nameOf({ type: 'user', id: userOf(actor) }) !== actorName(proven))
      throw denied(
        tenant,
        `\`${actorName(proven)}\` may not act as \`${printable(actor)}\`: the operator could`,
      );
    return proven;
  };
  const admin = openAdmin({
    store,
    catalog,
    defaults,
    baseline,
    policyLimits: options.policyLimits,
    maxStateBytes: options.maxStateBytes,
    threadStore: options.threadStore,
    now,
    mint: { key: mintKey, session: mintSession, id: newId },
    record: recordOperation,
  });
  return {
    admin: {
      ...admin,
      call: (name, actor, request) =>
        recorded(() => admin.call(name, actor, withBoundedId(request))),
      mayApply: (actor, request) => recorded(() => admin.mayApply(actor, withBoundedId(request))),
      apply: (actor, request, ...upload) =>
        recorded(() => admin.apply(actor, withBoundedId(request), ...upload)),
      export: (...asked) => recorded(() => admin.export(...asked)),
    },
    admit: (authorization) => recorded(() => admit(authorization)),
    authenticate: (caller) => recorded(() => authenticate(caller)),
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

/** The operator, or the user as whom it acts, with that user's authority. */
function operator(as: string): Actor {
  if (as === '' || as === 'operator')
    return { user: undefined, keyId: undefined, via: 'admin token' };
  const id = userOf(as);
  const problem = storedIdProblem(id);
  if (problem !== undefined)
    throw new Refused('invalid_argument', `postern-actor: ${problem}`, '', 'postern-actor');
  return { user: id, keyId: undefined, via: 'admin token' };
}

/** The user that the metadata names: `user:alice` or `alice`, percent-encoded because metadata is ASCII. */
function userOf(actor: string): string {
  try {
    return decodeURIComponent(actor.startsWith('user:') ? actor.slice(5) : actor);
  } catch {
    throw new Refused(
      'invalid_argument',
      `postern-actor: \`${printable(actor)}\` is not percent-encoded UTF-8: write % as %25`,
      '',
      'postern-actor',
    );
  }
}
