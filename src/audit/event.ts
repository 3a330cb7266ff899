/** Audit records: what is written of a decision, and nothing that is a secret. Pure. */
import type { Outcome, Reason, Request, Subject } from '../engine/model.ts';
import type { Rule } from '../engine/abac.ts';

/** Version of the record's shape. */
const AUDIT_VERSION = 1;

export interface DecisionRecord {
  readonly v: number;
  readonly type: 'decision';
  readonly time: string;
  readonly instance: string;
  /** Dense an instance: a reader can prove that none is missing. */
  readonly seq: number;
  readonly decision_id: string;
  readonly request_id?: string;
  readonly api: string;
  readonly tenant: string;
  readonly revision: number;
  readonly subject?: string;
  readonly key_id?: string;
  readonly action: string;
  readonly resource?: {
    readonly type?: string;
    readonly id?: string;
    readonly path?: string;
    readonly attributes?: Readonly<Record<string, readonly unknown[]>>;
  };
  readonly context?: Readonly<Record<string, unknown>>;
  /** Filter: how many objects were asked for, and how many are visible on this page. */
  readonly objects?: { readonly total: number; readonly visible: number };
  readonly allowed: boolean;
  readonly reason: Reason;
  readonly shadow?: { readonly allowed: boolean; readonly differs: boolean };
  /** The rules of policy sets that decided, `set/rule`; the base role as `role`. */
  readonly policy?: readonly string[];
  /** Mode of the key. */
  readonly mode?: string;
  readonly duration_us: number;
}

export interface DecisionFacts {
  readonly decisionId: string;
  readonly seq: number;
  readonly instance: string;
  readonly time: Date;
  readonly requestId: string;
  readonly api: string;
  readonly request: Request;
  readonly subject: Subject | undefined;
  readonly context: Readonly<Record<string, unknown>> | undefined;
  readonly revision: number;
  readonly allowed: boolean;
  readonly outcome: Outcome;
  readonly shadow: boolean | undefined;
  readonly mode: string | undefined;
  readonly objects: DecisionRecord['objects'];
  readonly durationUs: number;
  readonly withAttributes: boolean;
}

export function decisionRecord(facts: DecisionFacts): DecisionRecord {
  const { request, outcome, shadow, allowed, subject, context } = facts;
  const { keyId } = request;
  const policy = rulesOf(outcome);
  const resource = resourceOf(request, facts.withAttributes);
  return {
    v: AUDIT_VERSION,
    type: 'decision',
    time: facts.time.toISOString(),
    instance: facts.instance,
    seq: facts.seq,
    decision_id: facts.decisionId,
    ...(facts.requestId === '' ? {} : { request_id: facts.requestId }),
    api: facts.api,
    tenant: request.tenant,
    revision: facts.revision,
    ...(subject === undefined ? {} : { subject: `${subject.type}:${subject.id}` }),
    ...(keyId === undefined ? {} : { key_id: keyId }),
    action: request.action,
    ...(resource === undefined ? {} : { resource }),
    ...(context === undefined || !facts.withAttributes ? {} : { context }),
    ...(facts.objects === undefined ? {} : { objects: facts.objects }),
    allowed,
    reason: outcome.reason,
    ...(shadow === undefined ? {} : { shadow: { allowed: shadow, differs: shadow !== allowed } }),
    ...(policy.length === 0 ? {} : { policy }),
    ...(facts.mode === undefined ? {} : { mode: facts.mode }),
    duration_us: facts.durationUs,
  };
}

function rulesOf({ actionRule, objectRule }: Outcome): string[] {
  const rules = [actionRule, objectRule].filter((rule) => rule !== undefined).map(ruleName);
  return [...new Set(rules)];
}

function ruleName({ set, id }: Rule): string {
  return set === '' ? id : `${set}/${id}`;
}

function resourceOf(
  { resource }: Request,
  withAttributes: boolean,
): DecisionRecord['resource'] | undefined {
  const { type, id, path, attributes } = resource;
  const shown = {
    ...(type === '' ? {} : { type }),
    ...(id === '' ? {} : { id }),
    ...(path === undefined ? {} : { path }),
    ...(withAttributes && attributes.size > 0
      ? { attributes: Object.fromEntries(attributes) }
      : {}),
  };
  return Object.keys(shown).length === 0 ? undefined : shown;
}
