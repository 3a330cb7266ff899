/** Calls that read: single answers, lists by page, and the list of tenants. */
import type { Kind, TenantRecord } from '../../engine/records.ts';
import type { FactKey, FactValue } from '../../store/store.ts';
import { actorName, isOperator, requireAdministrator, type Actor } from '../actor.ts';
import type { AdminAnswer, AdminRequest } from '../admin-contract.ts';
import { LISTS, pageOf, type Beside, type ListName, type Scan } from '../read/lists.ts';
import { READS, type ReadContext, type ReadName } from '../read/reads.ts';
import { denied, invalid } from '../refused.ts';
import { readOnThread } from '../threads/read-document.ts';
import { readWith, type Room } from './room.ts';

/** A request for a page of a list. */
export type PagedRequest = AdminRequest & {
  readonly page_size: number;
  readonly page_token: string;
};

export async function doRead(
  room: Room,
  name: ReadName,
  actor: Actor,
  request: AdminRequest,
): Promise<AdminAnswer> {
  // The transport has made the request of the message that the rule is written for.
  const rule = READS[name] as (context: ReadContext, request: unknown) => object;
  const { revision, result } = await readWith(room, request.tenant, actor, (context) =>
    rule(context, request),
  );
  return { ...result, revision };
}

export async function doList(
  room: Room,
  name: ListName,
  actor: Actor,
  request: PagedRequest,
): Promise<AdminAnswer> {
  const { store } = room;
  const { tenant } = request;
  // What stands beside a page's records is read with them; the rule finds it here.
  const beside = new Map<string, FactValue | undefined>();
  const at = (kind: Kind, id: string): string => `${kind} ${id}`;
  const find: Beside = (kind, id) => beside.get(at(kind, id)) as never;
  const rule = LISTS[name] as (context: ReadContext, request: unknown, find: Beside) => Scan;
  const { result: scan } = await readWith(room, tenant, actor, (context) =>
    rule(context, request, find),
  );
  const read = async (keys: readonly FactKey[]): Promise<void> => {
    beside.clear();
    const { values } = await store.get(tenant, keys);
    for (const [index, { kind, id }] of keys.entries()) beside.set(at(kind, id), values[index]);
  };
  const { revision, answer } = await pageOf(store, tenant, name, request, scan, read);
  return { ...answer, revision };
}

/** What is wrong with a policy set's document, without storing it. */
export async function validatePolicySet(
  room: Room,
  actor: Actor,
  request: AdminRequest & { readonly document: string },
): Promise<AdminAnswer> {
  const { store, documents, catalog, policyLimits } = room;
  const { tenant, document } = request;
  const { revision } = await readWith(room, tenant, actor, ({ authority }) =>
    requireAdministrator(authority, 'validate a policy set'),
  );
  const reading = await readOnThread(documents, document, catalog(), policyLimits);
  const { set, named } = reading;
  const { values } = await store.get(
    tenant,
    set === undefined || named === undefined ? [] : [{ kind: 'policy_set', id: set.name }],
  );
  const isAllowed = named === undefined || values[0] !== undefined;
  const all = isAllowed ? reading.problems : [named, ...reading.problems];
  const problems = all.map(({ file: _file, ...view }) => view);
  // The fields of an answer are those of its message.
  return { revision, problems } as AdminAnswer;
}

/** For the operator. */
export async function listTenants(
  { store }: Room,
  actor: Actor,
  { page_size: size, page_token: after }: PagedRequest,
): Promise<AdminAnswer> {
  if (!isOperator(actor))
    throw denied('ADM-1', `\`${actorName(actor)}\` may not list tenants`, 'the operator');
  const names = await store.tenants();
  const first = after === '' ? 0 : names.findIndex((name) => pageToken(name) === after) + 1;
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
  const hasMore = last !== undefined && last !== names.at(-1);
  const next = hasMore ? pageToken(last) : '';
  // The fields of an answer are those of its message.
  return { revision: 0, tenants, next_page_token: next } as AdminAnswer;
}

/** Of the page after a tenant; opaque to callers. */
function pageToken(name: string): string {
  return Buffer.from(name).toString('base64url');
}
