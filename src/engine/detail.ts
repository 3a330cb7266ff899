/** One sentence per reason for people: constant texts without ids, so they need no allocation. */
import type { Decision } from './decision.ts';
import type { Reason } from './model.ts';

const DENIED: Readonly<Record<Exclude<Reason, 'ALLOWED'>, string>> = {
  ACTION_DENIED: 'the policies of the key deny this action',
  OBJECT_HIDDEN: 'the policies of the key hide this object',
  NO_GRANT:
    'no permission, grant or access list allows this, or the level of the subject is too low: use Explain to see what is missing',
  UNKNOWN_ACTION: 'the action is not in the catalog: add it, or use `resource:verb`',
  SUBJECT_INACTIVE: 'the subject is deleted or suspended',
  KEY_INVALID: 'the key or credential is unknown, or may not act for this subject',
  TENANT_MISMATCH: 'the tenant does not exist here',
  STALE: 'the facts are older than allowed: the store does not answer',
  UNAVAILABLE: 'the facts that were asked for are not here',
  HISTORY_LOST: 'the revision that was asked for is not in the history of the store',
  VERSION: 'the facts need a newer version of this service',
  RATE_LIMITED: 'the key has asked more often than its rate limit allows',
  INTERNAL: 'a layer of the decision failed',
  INVALID_ARGUMENT: 'the request is malformed',
};

const ALLOWED_BY: Readonly<Record<NonNullable<Decision['by']>, string>> = {
  superuser: 'the subject is a superuser',
  rbac: 'a role of the subject carries the permission',
  tree: 'a grant or ownership covers the path',
  acl: 'the access list of the object names the subject or one of its groups',
};

export function detailOf({ reason, by }: Pick<Decision, 'reason' | 'by'>): string {
  if (reason !== 'ALLOWED') return DENIED[reason];
  return by === undefined ? 'the policies of the key allow it' : ALLOWED_BY[by];
}
