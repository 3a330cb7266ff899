/** Managing facts: every call has an actor, every operation and every refusal is recorded (ADM-7). */
import { listChanges, watchChanges } from './calls/change-log.ts';
import { recordingDenials } from './calls/events.ts';
import {
  doList,
  doRead,
  listTenants,
  validatePolicySet,
  type PagedRequest,
} from './calls/read-calls.ts';
import { openRoom, type Room } from './calls/room.ts';
import { apply, exportTenant, mayApply } from './calls/state-calls.ts';
import { deleteTenant, doWrite } from './calls/write-calls.ts';
import type { Actor } from './actor.ts';
import type { Admin, AdminAnswer, AdminOptions, AdminRequest } from './admin-contract.ts';
import { isWrite } from './operations.ts';
import { isList } from './read/lists.ts';
import { isRead } from './read/reads.ts';
import { Refused } from './refused.ts';

type Call = (room: Room, actor: Actor, request: AdminRequest) => Promise<AdminAnswer>;

/** Calls that are more than a rule. The transport has made each request of the message of its call. */
const OTHERS: Readonly<Record<string, Call>> = {
  DeleteTenant: deleteTenant,
  ValidatePolicySet: (room, actor, request) =>
    recordingDenials(room, 'policy_set.validate', actor, request, () =>
      validatePolicySet(room, actor, request as AdminRequest & { readonly document: string }),
    ),
  ListTenants: (room, actor, request) => listTenants(room, actor, request as PagedRequest),
  ListChanges: (room, actor, request) =>
    recordingDenials(room, 'ListChanges', actor, request, () =>
      listChanges(
        room,
        actor,
        request as AdminRequest & { readonly after: number; readonly page_size: number },
      ),
    ),
};

function callOf(name: string): Call | undefined {
  if (Object.hasOwn(OTHERS, name)) return OTHERS[name];
  if (isWrite(name)) return (room, actor, request) => doWrite(room, name, actor, request);
  if (isRead(name))
    return (room, actor, request) =>
      recordingDenials(room, name, actor, request, () => doRead(room, name, actor, request));
  if (isList(name))
    return (room, actor, request) =>
      recordingDenials(room, name, actor, request, () =>
        // The transport has made it of the message of a list.
        doList(room, name, actor, request as PagedRequest),
      );
  return undefined;
}

export function openAdmin(options: AdminOptions): Admin {
  const room = openRoom(options);
  return {
    async call(name, actor, request): Promise<AdminAnswer> {
      const call = callOf(name);
      if (call === undefined) throw new Refused('invalid_argument', `there is no call \`${name}\``);
      return call(room, actor, request);
    },
    mayApply: (actor, request) => mayApply(room, actor, request),
    apply: (actor, request, read, signal) => apply(room, actor, request, read, signal),
    export: (actor, request) => exportTenant(room, actor, request),
    watch: (actor, request, signal) => watchChanges(room, actor, request, signal),
  };
}
