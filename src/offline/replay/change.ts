/** Ways in which a recorded request comes out differently, and why one is not decided again. Pure. */
import type { DecisionRecord } from '../../audit/record/reader.ts';
import type { Decision, Outcome } from '../../engine/decision.ts';
import { REASONS, type Reason } from '../../engine/model.ts';

/** In the order in which they are listed. */
export const CHANGES = [
  'allow_to_deny',
  'deny_to_allow',
  'filter_hidden',
  'filter_shown',
  'reason',
] as const;
/** `filter_…`: objects of a Filter whose action stays allowed. `reason`: the same answer for another reason. */
export type ChangeKind = (typeof CHANGES)[number];

/** One way in which answers come out differently. */
export interface Change {
  readonly change: ChangeKind;
  readonly tenant: string;
  /** `''`: no key was named. */
  readonly key_id: string;
  readonly action: string;
  /** The layer of the combining rule that makes the difference, by Explain's names; `''`: the record does not say. */
  readonly layer: string;
  readonly before: Answer;
  readonly after: Answer;
}

/** An answer as a record or a replay has it. */
export interface Answer {
  /** `HIDDEN`: an object that a Filter left out; its record does not say why. */
  readonly reason: string;
  /** The rules that decided, `set/rule` or a base role; empty where there is no key, or none was recorded. */
  readonly policy: readonly string[];
  /** What made the subject's evidence, where that is known. */
  readonly by?: NonNullable<Decision['by']>;
}

/** Why a record is not replayed; `of`: the reason, the inputs or the tenant that it is about. */
export interface Obstacle {
  readonly cause:
    | 'no_decision'
    | 'no_question'
    | 'credential'
    | 'key_of_another_user'
    | 'withheld_input'
    | 'erased'
    | 'no_facts';
  readonly of: string;
}

/** How a request comes out differently; empty: it does not. */
export type Found = readonly (Change & { readonly objects: number })[];

/** A request that is answered differently. */
export function answerChange(record: DecisionRecord, before: Answer, after: Answer): Change {
  const isAllowed = after.reason === 'ALLOWED';
  const change =
    before.reason === 'ALLOWED' ? 'allow_to_deny' : isAllowed ? 'deny_to_allow' : 'reason';
  const layer = layerOf(isAllowed ? before.reason : after.reason);
  return { change, ...questionOf(record), layer, before, after };
}

/** An object of a Filter that goes or comes. What hid one is not recorded; with a key and a subject it may have been either. */
export function objectChange(record: DecisionRecord, wasVisible: boolean, after: Answer): Change {
  const question = questionOf(record);
  if (wasVisible)
    return {
      change: 'filter_hidden',
      ...question,
      layer: layerOf(after.reason),
      before: answerFor('ALLOWED'),
      after,
    };
  const { key_id: keyId, subject } = record;
  const layer = keyId === undefined ? 'access' : subject === undefined ? 'abac_object' : '';
  return { change: 'filter_shown', ...question, layer, before: answerFor('HIDDEN'), after };
}

function questionOf({
  tenant,
  key_id = '',
  action,
}: DecisionRecord): Pick<Change, 'tenant' | 'key_id' | 'action'> {
  return { tenant, key_id, action };
}

/** The layer that a reason is of (COMB-1); `''`: none, the request was not decided or was allowed. */
const LAYERS: Readonly<Record<Reason, string>> = {
  ALLOWED: '',
  KEY_INVALID: 'credential',
  TENANT_MISMATCH: 'tenant',
  UNKNOWN_ACTION: 'action',
  SUBJECT_INACTIVE: 'subject',
  ACTION_DENIED: 'abac_action',
  NO_GRANT: 'access',
  OBJECT_HIDDEN: 'abac_object',
  STALE: '',
  UNAVAILABLE: '',
  HISTORY_LOST: '',
  VERSION: '',
  RATE_LIMITED: '',
  INTERNAL: '',
  INVALID_ARGUMENT: '',
};

/** @param reason of a record, which another version may have written */
function layerOf(reason: string): string {
  const known = REASONS.find((one) => one === reason);
  return known === undefined ? '' : LAYERS[known];
}

/** An answer of which no more than its reason is known. */
export function answerFor(reason: string): Answer {
  return { reason, policy: [] };
}

export function answerOf(decision: Decision): Answer {
  const { reason, by } = decision;
  return { reason, policy: rulesOf(decision), ...(by === undefined ? {} : { by }) };
}

/** As audit records name them. */
function rulesOf({ actionRule, objectRule }: Outcome): readonly string[] {
  const names = [actionRule, objectRule]
    .filter((rule) => rule !== undefined)
    .map(({ set, id }) => (set === '' ? id : `${set}/${id}`));
  return [...new Set(names)];
}
