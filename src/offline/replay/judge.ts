/**
 * One recorded request decided again by other facts. A record that leaves out too much is not decided: the answer names
 * the cause. Pure.
 */
import { resourceOf, type DecisionRecord } from '../../audit/record/reader.ts';
import { toSubject } from '../../config/policy-test.ts';
import { decide } from '../../engine/decide.ts';
import type { Facts } from '../../engine/decision.ts';
import { REASONS, type Reason } from '../../engine/model.ts';
import { hasExpired } from '../../engine/resolve-key.ts';
import { isIndependent, type Withheld } from '../../engine/withheld.ts';
import type { Who } from '../../facts/facts.ts';
import { answerChange, answerOf, type Found, type Obstacle } from './change.ts';
import { judgeFilter } from './replay-filter.ts';

/** The facts of the tenant that is tried. */
export type Resolve = (who: Who) => Facts;

/** @param resolve `undefined`: nothing is known of the tenant */
export function judge(record: DecisionRecord, resolve: Resolve | undefined): Found | Obstacle {
  const { reason, tenant, action, key_id: keyId } = record;
  if (!isDecided(reason)) return { cause: 'no_decision', of: reason };
  if (tenant === '') return { cause: 'no_question', of: reason };
  if (record.erased === true) return { cause: 'erased', of: '' };
  const withheld = withheldOf(record.omitted ?? []);
  if ('cause' in withheld) return withheld;
  if (resolve === undefined) return { cause: 'no_facts', of: tenant };
  const subject = record.subject === undefined ? undefined : toSubject(record.subject);
  const who = { tenant, subject, keyId };
  const facts = asOf(resolve(who), record.time);
  const obstacle = keyObstacle(record, facts, () => resolve({ ...who, subject: undefined }));
  if (obstacle !== undefined) return obstacle;
  if (record.api === 'filter')
    return judgeFilter(record, { ...who, action }, facts, withheld.names === '');
  const resource = resourceOf(record.resource);
  const request = { ...who, action, resource };
  if (withheld.names !== '' && !isIndependent(request, facts, withheld))
    return { cause: 'withheld_input', of: withheld.names };
  const after = answerOf(decide(request, facts));
  if (after.reason === reason) return [];
  const before = { reason, policy: record.policy ?? [] };
  return [{ ...answerChange(record, before, after), objects: 0 }];
}

/** Whether facts decide: other reasons are of the moment, or of the caller. */
const IS_DECIDED: Readonly<Record<Reason, boolean>> = {
  ALLOWED: true,
  ACTION_DENIED: true,
  OBJECT_HIDDEN: true,
  NO_GRANT: true,
  UNKNOWN_ACTION: true,
  SUBJECT_INACTIVE: true,
  KEY_INVALID: true,
  TENANT_MISMATCH: true,
  STALE: false,
  UNAVAILABLE: false,
  HISTORY_LOST: false,
  VERSION: false,
  RATE_LIMITED: false,
  INTERNAL: false,
  INVALID_ARGUMENT: false,
};

/** @param reason of a record: one of a later version is taken for a decision */
function isDecided(reason: string): boolean {
  const known = REASONS.find((one) => one === reason);
  return known === undefined || IS_DECIDED[known];
}

/** Inputs that no decision looks at. */
const UNUSED = /^(context|request_id|resource\.id)(\.|$)/;
/** Inputs without which some decisions are what they are. */
const SOME = /^(resource\.(path|attributes|sources)|objects)(\.|$)/;

/** What a record leaves out or alters of its request, by the names of its field `omitted`. */
function withheldOf(omitted: readonly string[]): (Withheld & { names: string }) | Obstacle {
  const used = omitted.filter((name) => !UNUSED.test(name));
  const names = used.toSorted().join(', ');
  if (!used.every((name) => SOME.test(name))) return { cause: 'withheld_input', of: names };
  const has = (part: string): boolean =>
    used.some((name) => name === part || name.startsWith(`${part}.`));
  return {
    names,
    path: has('resource.path'),
    attributes: has('resource.attributes'),
    sources: has('resource.sources'),
  };
}

/** A key that had expired by then is no key. */
function asOf(facts: Facts, time: string): Facts {
  const { key } = facts;
  const isOver = typeof key === 'object' && hasExpired(key.record, Date.parse(time));
  return isOver ? { ...facts, key: 'invalid' } : facts;
}

/** What a record leaves open about its key: whether a credential proved it, and who named the subject. */
function keyObstacle(
  { reason, subject, key_id: keyId }: DecisionRecord,
  { key }: Facts,
  alone: () => Facts,
): Obstacle | undefined {
  if (reason === 'KEY_INVALID')
    return key === 'invalid' ? undefined : { cause: 'credential', of: keyId ?? '' };
  if (key !== 'invalid' || subject === undefined || keyId === undefined) return undefined;
  // The key acts for somebody else now. If it was named alone, it would act for that one.
  const rebound = typeof alone().key === 'object';
  return rebound ? { cause: 'key_of_another_user', of: keyId } : undefined;
}
