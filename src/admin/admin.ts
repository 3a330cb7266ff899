/** Managing facts: every call has an actor, every operation and every refusal is told to the log (ADM-7). */
import { POLICY_LIMITS, type PolicyLimits } from '../config/policy-limits.ts';
import type { DefaultRole } from '../config/roles.ts';
import type { Catalog } from '../engine/action.ts';
import type { Kind, TenantRecord } from '../engine/records.ts';
import type { FactKey, FactValue, Feed, Store } from '../store/store.ts';
import {
  authorityOf,
  isOperator,
  requireAdministrator,
  requireAll,
  type Actor,
  actorName,
} from './actor.ts';
import { applyText, unlistedOf, type ApplyFlags } from './state/apply-text.ts';
import { exportPieces, type Exported } from './state/export-state.ts';
import { utf8Of } from './input.ts';
import type { Baseline } from './migrations/baseline.ts';
import type { Mint } from './context.ts';
import { isList, LISTS, pageOf, type Beside, type ListName, type Scan } from './read/lists.ts';
import { isWrite, WRITES, type WriteName } from './operations.ts';
import { isRead, mustReadAll, READS, type ReadContext, type ReadName } from './read/reads.ts';
import { withSuggestion } from './read/suggestions.ts';
import { denied, invalid, Refused } from './refused.ts';
import { UnknownWriteError } from './commit.ts';
import type { Done, WriteOptions } from './write-result.ts';
import { firstKeys, mustExist, write, type Environment } from './write.ts';
import { mustHaveBeen } from './tenant/deleted.ts';
import { isLogged } from './record-kinds.ts';
import { removeRecords, type Removal } from './tenant/remove.ts';
import { tokenOf } from '../store/format/token.ts';
import { readOnThread } from './threads/policy-set.ts';
import { openPool, type PoolOptions } from './threads/pool.ts';
import type { ThreadStore } from './threads/tasks.ts';
import { overWorld, type Difference, type World } from './world.ts';

export interface AdminOptions {
  readonly store: Store;
  readonly catalog: () => Catalog;
  readonly defaults: readonly DefaultRole[];
  /** Migrations that the defaults include; none if left out. */
  readonly baseline?: Baseline;
  readonly mint: Mint;
  /** How large a policy set may be. */
  readonly policyLimits?: PolicyLimits;
  /** Largest state that is exported or applied, `admin.max_state_bytes`. */
  readonly maxStateBytes?: number;
  /** The same store, for the threads that apply and export states; `undefined`: they are done here. */
  readonly threadStore?: ThreadStore | undefined;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  readonly record: (event: ManagementEvent) => void;
}

/** What became of an operation, for the log. */
export interface ManagementEvent {
  readonly tenant: string;
  readonly actor: Actor;
  readonly operation: string;
  /** The caller's correlation id; `''`: none. */
  readonly requestId: string;
  readonly revision: number;
  readonly dryRun: boolean;
  /** It was done before, under the same idempotency key. */
  readonly repeated: boolean;
  /** Why it was not done; `undefined`: it was. */
  readonly refused:
    { readonly kind: string; readonly rule: string; readonly message: string } | undefined;
  readonly differences: readonly Difference[];
  /** Differences that are not listed. */
  readonly moreDifferences?: number;
  /** Records that were removed with a tenant, by kind (ADM-9). */
  readonly removed?: ReadonlyMap<Kind, number>;
}

/** A request as it comes: the fields of its message, by their names in the contract. */
export interface AdminRequest {
  readonly tenant: string;
  readonly options?: (WriteOptions & { readonly request_id: string }) | null;
}

export interface AdminAnswer {
  readonly revision: number;
}

export interface ChangeView {
  readonly revision: number;
  readonly actor: string;
  readonly operation: string;
  readonly time: string;
  readonly records: readonly { readonly kind: Kind; readonly id: string }[];
  readonly too_many: boolean;
}

export interface Admin {
  /** Answers a call by its name. @throws Refused, IdempotencyError, StoreError */
  call(name: string, actor: Actor, request: AdminRequest): Promise<AdminAnswer>;
  /** Whether an actor may apply a state at all, before the state is here. @throws Refused */
  mayApply(actor: Actor, request: AdminRequest): Promise<void>;
  /**
   * Applies a state file.
   * @param read returns its bytes, UTF-8, in pieces that it lets go of, or throws where they are not whole (CONS-5)
   * @param signal aborted: whoever asked has gone, and nothing is committed any more
   */
  apply(
    actor: Actor,
    request: AdminRequest & ApplyFlags,
    read: () => readonly Uint8Array<ArrayBuffer>[],
    signal?: AbortSignal,
  ): Promise<AdminAnswer>;
  export(
    actor: Actor,
    request: { readonly tenant: string; readonly format: string },
  ): Promise<Exported>;
  /** Commits after a revision, as they come, until the signal. */
  watch(
    actor: Actor,
    request: { readonly tenant: string; readonly after: number },
    signal: AbortSignal,
  ): AsyncGenerator<{ readonly change: ChangeView; readonly gap: boolean }>;
}

const PLAIN: WriteOptions & { readonly request_id: string } = {
  dry_run: false,
  idempotency_key: '',
  expected_revision: 0,
  request_id: '',
};

/** Of an operation that changed nothing. */
function plainEvent(operation: string, actor: Actor, request: AdminRequest): ManagementEvent {
  return {
    tenant: request.tenant,
    actor,
    operation,
    requestId: request.options?.request_id ?? '',
    revision: 0,
    dryRun: false,
    repeated: false,
    refused: undefined,
    differences: [],
  };
}

/** Operations of one tenant that may wait for each other here, before callers are told to come back. */
const MAX_QUEUE = 1_000;

export function openAdmin(options: AdminOptions): Admin {
  const { store, catalog, now } = options;
  const environment: Environment = options;
  const serially = queues();
  const limits = options.policyLimits ?? POLICY_LIMITS;
  const maxBytes = options.maxStateBytes ?? MAX_STATE_BYTES;
  const pool = openPool(READING);
  const states = openPool(STATES);

  const doWrite = async (
    operation: string,
    actor: Actor,
    request: AdminRequest,
    run: (options: WriteOptions, prepared: object) => Promise<Done>,
    prepare: () => Promise<object> = () => Promise.resolve({}),
  ): Promise<AdminAnswer> => {
    const given = request.options ?? PLAIN;
    const event = {
      tenant: request.tenant,
      actor,
      operation,
      requestId: given.request_id,
      dryRun: given.dry_run,
    };
    try {
      const prepared = await prepare();
      const done = await serially(request.tenant, () => run(given, prepared));
      const { revision, consistency_token, result, body, differences, moreDifferences } = done;
      options.record({
        ...event,
        revision,
        repeated: result.repeated,
        refused: undefined,
        differences: given.dry_run ? [] : differences,
        moreDifferences: given.dry_run ? 0 : (moreDifferences ?? 0),
      });
      return { ...body, revision, consistency_token, result } as AdminAnswer;
    } catch (error) {
      const rule = error instanceof Refused ? error.rule : '';
      const message = error instanceof Error ? error.message : String(error);
      // What may have been done is told as if it had been: nobody will tell it later.
      const unknown = error instanceof UnknownWriteError ? error : undefined;
      const failed = unknown === undefined ? 'failed' : 'unknown_outcome';
      const kind = error instanceof Refused ? error.kind : failed;
      options.record({
        ...event,
        revision: unknown?.revision ?? 0,
        repeated: false,
        refused: { kind, rule, message },
        differences: unknown?.differences ?? [],
      });
      throw error;
    }
  };

  const writing = (name: WriteName, actor: Actor, request: AdminRequest): Promise<AdminAnswer> => {
    const { operation, rule } = WRITES[name];
    const { tenant, options: _options, ...asked } = request;
    const run = (given: WriteOptions, prepared: object): Promise<Done> =>
      write(environment, {
        tenant,
        name: operation,
        actor,
        options: given,
        asked,
        creates: name === 'CreateTenant' || name === 'DeleteTenant',
        // The transport has made the request of the message that the rule is written for.
        rule: (context) =>
          (rule as (context: unknown, request: unknown) => object)(context, {
            ...request,
            ...prepared,
          }),
      });
    return doWrite(operation, actor, request, run, () => prepared(name, actor, request));
  };

  /** Deletes a tenant by one commit, then removes what it had, or goes on with that (ADM-9). */
  const deleting = async (actor: Actor, request: AdminRequest): Promise<AdminAnswer> => {
    const { tenant } = request;
    const answer = await writing('DeleteTenant', actor, request);
    const dryRun = request.options?.dry_run === true;
    const progress: Removal = { removed: new Map(), head: undefined };
    const event = { ...plainEvent('tenant.remove_records', actor, request), dryRun };
    const told = (): Pick<ManagementEvent, 'revision' | 'removed'> => ({
      revision: progress.head?.revision ?? answer.revision,
      removed: progress.removed,
    });
    try {
      await serially(tenant, () =>
        removeRecords(store, tenant, { actor: actorName(actor), dryRun }, progress),
      );
    } catch (error) {
      const message = `the tenant is deleted, and not all of its records are removed yet: do it again to go on: ${String(error)}`;
      options.record({ ...event, ...told(), refused: { kind: 'failed', rule: '', message } });
      throw error;
    }
    options.record({ ...event, ...told() });
    const removed = [...progress.removed].map(([kind, count]) => ({ kind, count }));
    const head = progress.head;
    return {
      ...answer,
      ...(head === undefined
        ? {}
        : { revision: head.revision, consistency_token: tokenOf(tenant, head) }),
      removed,
    } as AdminAnswer;
  };

  /** What of a write is read on a thread before its rule runs, for those who may have it done (ADM-11). */
  const prepared = async (
    name: WriteName,
    actor: Actor,
    request: AdminRequest,
  ): Promise<object> => {
    if (name !== 'PutPolicySet') return {};
    await look(request.tenant, actor, ({ authority }) =>
      requireAdministrator(authority, 'put a policy set'),
    );
    // A request of this name has the document.
    const { document } = request as AdminRequest & { readonly document: string };
    return { read: await readOnThread(pool, document, catalog(), limits) };
  };

  const validating = async (actor: Actor, request: AdminRequest): Promise<AdminAnswer> => {
    const { revision } = await look(request.tenant, actor, ({ authority }) =>
      requireAdministrator(authority, 'validate a policy set'),
    );
    const { document } = request as AdminRequest & { readonly document: string };
    const { set, named, problems } = await readOnThread(pool, document, catalog(), limits);
    const { values } = await store.get(
      request.tenant,
      set === undefined || named === undefined ? [] : [{ kind: 'policy_set', id: set.name }],
    );
    const told = named === undefined || values[0] !== undefined ? problems : [named, ...problems];
    return { revision, problems: told.map(({ file: _file, ...view }) => view) } as AdminAnswer;
  };

  /** Tells the log where what is no write is refused (ADM-7). */
  const recorded = async <T>(
    operation: string,
    actor: Actor,
    request: AdminRequest,
    run: () => Promise<T>,
  ): Promise<T> => {
    try {
      return await run();
    } catch (error) {
      if (error instanceof Refused && error.kind === 'permission_denied') {
        const { kind, rule, message } = error;
        options.record({
          ...plainEvent(operation, actor, request),
          refused: { kind, rule, message },
        });
      }
      throw error;
    }
  };

  /** Runs a rule that reads, with the actor's authority. */
  const look = async <T>(
    tenant: string,
    actor: Actor,
    rule: (context: ReadContext) => T,
    mustBe: (world: World) => void = mustExist,
  ): Promise<{ readonly revision: number; readonly result: T }> => {
    const { head, result } = await overWorld(store, tenant, firstKeys(actor), (world) => {
      mustBe(world);
      const authority = authorityOf(world, actor, catalog(), 'postern:read');
      try {
        return rule({ world, authority, catalog: catalog(), now: now() });
      } catch (error) {
        throw withSuggestion(error, world, authority);
      }
    });
    return { revision: head?.revision ?? 0, result };
  };

  const reading = async (
    name: ReadName,
    actor: Actor,
    request: AdminRequest,
  ): Promise<AdminAnswer> => {
    const rule = READS[name] as (context: ReadContext, request: unknown) => object;
    const { revision, result } = await look(request.tenant, actor, (context) =>
      rule(context, request),
    );
    return { ...result, revision };
  };

  const listing = async (
    name: ListName,
    actor: Actor,
    request: AdminRequest,
  ): Promise<AdminAnswer> => {
    const { tenant } = request;
    // What stands beside a page's records is read with them; the rule finds it here.
    const beside = new Map<string, FactValue | undefined>();
    const at = (kind: Kind, id: string): string => `${kind} ${id}`;
    const find: Beside = (kind, id) => beside.get(at(kind, id)) as never;
    const rule = LISTS[name] as (context: ReadContext, request: unknown, find: Beside) => Scan;
    const { result: scan } = await look(tenant, actor, (context) => rule(context, request, find));
    const read = async (keys: readonly FactKey[]): Promise<void> => {
      beside.clear();
      const { values } = await store.get(tenant, keys);
      for (const [index, { kind, id }] of keys.entries()) beside.set(at(kind, id), values[index]);
    };
    const paged = request as AdminRequest & { page_size: number; page_token: string };
    const { revision, answer } = await pageOf(store, tenant, name, paged, scan, read);
    return { ...answer, revision };
  };

  const listTenants = async (
    actor: Actor,
    request: AdminRequest & { page_size: number; page_token: string },
  ): Promise<AdminAnswer> => {
    if (!isOperator(actor))
      throw denied('ADM-1', `\`${actorName(actor)}\` may not list tenants`, 'the operator');
    const names = await store.tenants();
    const { page_size: size, page_token: after } = request;
    const first = after === '' ? 0 : names.findIndex((name) => tokenOfTenant(name) === after) + 1;
    if (after !== '' && first === 0)
      throw invalid('page_token', 'is not one of this list: send `next_page_token` as it came');
    const page = names.slice(first, first + (size === 0 ? 100 : Math.min(size, 1_000)));
    const tenants = await Promise.all(
      page.map(async (name) => {
        const { head, values } = await store.get(name, [{ kind: 'tenant', id: '' }]);
        // The store returns a record of the kind that was asked for.
        const record = values[0] as TenantRecord | undefined;
        const migrations = (record?.migrations ?? []).map((one) => one.name);
        const deleted = record?.deleted === true;
        return { name, revision: head?.revision ?? 0, migrations, deleted };
      }),
    );
    const last = page.at(-1);
    const more = last !== undefined && last !== names.at(-1);
    const next = more ? tokenOfTenant(last) : '';
    return { revision: 0, tenants, next_page_token: next } as AdminAnswer;
  };

  const listChanges = async (
    actor: Actor,
    request: AdminRequest & { after: number; page_size: number },
  ): Promise<AdminAnswer> => {
    const { tenant } = request;
    await look(
      tenant,
      actor,
      ({ authority }) => mustReadAll(authority, 'list changes'),
      // What became of a tenant is for the operator to read, after it was deleted too (ADM-9).
      isOperator(actor) ? mustHaveBeen : mustExist,
    );
    const size = Math.min(request.page_size === 0 ? 100 : request.page_size, 1_000);
    const { head, entries } = await oldestAfter(store, tenant, request.after, size);
    const revision = head?.revision ?? 0;
    const complete = (entries.at(-1)?.revision ?? request.after) >= revision;
    return { revision, changes: entries.map(changeView), complete } as AdminAnswer;
  };

  return {
    async call(name, actor, request): Promise<AdminAnswer> {
      if (name === 'DeleteTenant') return deleting(actor, request);
      if (isWrite(name)) return writing(name, actor, request);
      if (isRead(name)) return recorded(name, actor, request, () => reading(name, actor, request));
      if (isList(name)) return recorded(name, actor, request, () => listing(name, actor, request));
      if (name === 'ValidatePolicySet')
        return recorded('policy_set.validate', actor, request, () => validating(actor, request));
      if (name === 'ListTenants')
        return listTenants(
          actor,
          request as AdminRequest & { page_size: number; page_token: string },
        );
      if (name === 'ListChanges')
        return recorded(name, actor, request, () =>
          listChanges(actor, request as AdminRequest & { after: number; page_size: number }),
        );
      throw new Refused('invalid_argument', `there is no call \`${name}\``);
    },
    mayApply: (actor, request) =>
      recorded('state.apply', actor, request, async () => {
        if (isOperator(actor)) return;
        await look(request.tenant, actor, ({ authority }) =>
          requireAll(authority, 'ADM-5', 'apply a whole state'),
        );
      }),
    apply: (actor, request, read, signal) =>
      doWrite('state.apply', actor, request, (given) => {
        const pieces = read();
        const unlisted = unlistedOf(request);
        const { tenant } = request;
        const { defaults, baseline = [] } = options;
        const { store: named } = options;
        if (options.threadStore === undefined) {
          const text = utf8Of('chunk', Buffer.concat(pieces));
          const room = { store: named, catalog, defaults, baseline, limits };
          return applyText(room, tenant, actor, given, text, { unlisted, signal });
        }
        return states.run(
          'apply',
          {
            store: options.threadStore,
            tenant,
            actor,
            options: given,
            pieces,
            unlisted,
            catalog: catalog(),
            limits,
            defaults,
            baseline: baseline.map(({ name, digest }) => ({ name, digest })),
          },
          { signal, transfer: pieces.map(({ buffer }) => buffer) },
        );
      }),
    async export(actor, { tenant, format }) {
      const exported = await recorded('state.export', actor, { tenant }, async () => {
        await look(tenant, actor, ({ authority }) =>
          requireAll(authority, 'ADM-1', 'export the tenant'),
        );
        const { threadStore: named } = options;
        return named === undefined
          ? exportPieces(store, tenant, format, maxBytes)
          : states.run('export', { store: named, tenant, format, maxBytes });
      });
      options.record({
        ...plainEvent('state.export', actor, { tenant }),
        revision: exported.revision,
      });
      return exported;
    },
    async *watch(actor, { tenant, after }, signal) {
      const may = (): Promise<unknown> =>
        look(tenant, actor, ({ authority }) => mustReadAll(authority, 'watch changes'));
      await may();
      let at =
        after === 0 ? ((await store.heads([tenant]))[0] as { revision: number }).revision : after;
      let wake = (): void => {};
      const unwatch = store.watch((changed) => {
        if (changed === undefined || changed === tenant) wake();
      });
      const end = (): void => wake();
      signal.addEventListener('abort', end);
      try {
        for (let checked = now(); !signal.aborted;) {
          // A stream must not outlive the authority that it was begun with.
          if (now() - checked > RECHECK_MS) {
            await may();
            checked = now();
          }
          const { entries } = await oldestAfter(store, tenant, at, 100);
          for (const entry of entries) {
            yield { change: changeView(entry), gap: entry.revision > at + 1 };
            at = entry.revision;
          }
          if (entries.length > 0) continue;
          await new Promise<void>((done) => {
            const timer = setTimeout(done, LOOK_MS);
            wake = (): void => {
              clearTimeout(timer);
              done();
            };
            if (signal.aborted) wake();
          });
        }
      } finally {
        unwatch();
        signal.removeEventListener('abort', end);
      }
    },
  };
}

/** Reading a policy set's document: what is larger or slower is refused. */
const READING: PoolOptions = { threads: 1, maxWaiting: 16, deadlineMs: 10_000, heapMiB: 256 };

/** Applying and exporting whole states: one at a time, and few that wait, for each holds its state in memory. */
const STATES: PoolOptions = { threads: 1, maxWaiting: 4, deadlineMs: 1_800_000, heapMiB: 4_096 };
/** As the setting has it where nothing else is said. */
const MAX_STATE_BYTES = 268_435_456;

/** Opaque to callers. */
function tokenOfTenant(name: string): string {
  return Buffer.from(name).toString('base64url');
}

const RECHECK_MS = 10_000;
/** How often a watched tenant is looked at without a hint. */
const LOOK_MS = 500;

/** The oldest entries after a revision that are still kept. */
async function oldestAfter(
  store: Store,
  tenant: string,
  after: number,
  limit: number,
): Promise<Feed> {
  const first = await store.feed(tenant, after, limit);
  const newest = first.head?.revision ?? 0;
  if (first.entries.length > 0 || newest <= after) return first;
  // Entries are kept from some revision on: below it there are none.
  let [gone, kept] = [after, newest];
  while (kept - gone > 1) {
    const middle = Math.floor((gone + kept) / 2);
    const { entries } = await store.feed(tenant, middle, 1);
    if (entries.length > 0) kept = middle;
    else gone = middle;
  }
  return store.feed(tenant, kept, limit);
}

function changeView({ revision, event, time, keys }: Feed['entries'][number]): ChangeView {
  return {
    revision,
    actor: event.actor,
    operation: event.operation,
    time: new Date(time).toISOString(),
    records: (keys ?? []).filter(isLogged),
    too_many: keys === undefined,
  };
}

/** One operation of a tenant after the other: those of one process need not race for the revision. */
function queues(): <T>(tenant: string, task: () => Promise<T>) => Promise<T> {
  const waiting = new Map<string, { readonly last: Promise<unknown>; readonly length: number }>();
  return async (tenant, task) => {
    const queue = waiting.get(tenant);
    if ((queue?.length ?? 0) >= MAX_QUEUE)
      throw new Refused(
        'aborted',
        `${MAX_QUEUE} operations of tenant \`${tenant}\` wait already: try again later`,
      );
    const run = (queue?.last ?? Promise.resolve()).then(task, task);
    // The next one begins a turn later: else whoever waits to try again would never find a moment without us.
    const yielded = (): Promise<void> => new Promise((go) => setImmediate(go));
    const settled = run.then(yielded, yielded);
    const entry = { last: settled, length: (queue?.length ?? 0) + 1 };
    waiting.set(tenant, entry);
    await settled;
    const now = waiting.get(tenant);
    if (now?.last === settled) waiting.delete(tenant);
    else if (now !== undefined) waiting.set(tenant, { ...now, length: now.length - 1 });
    return run;
  };
}
