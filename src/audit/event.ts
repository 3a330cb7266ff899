/**
 * Audit records: what is written of a decision, and nothing that is a secret. Pure. A record is made as the one
 * JSON line that it will be, piece by piece: most of a decision's own cost would else be its record's.
 */
import type { Rule } from '../engine/abac.ts';
import type { Outcome, Request, Subject } from '../engine/model.ts';

/** Version of the record's shape. */
const AUDIT_VERSION = 1;

/** What a record tells; see docs/operations.md for its fields. */
export interface DecisionFacts {
  readonly decisionId: string;
  /** Dense an instance: a reader can prove that no record is missing. */
  readonly seq: number;
  readonly instance: string;
  /** ISO 8601, UTC. */
  readonly time: string;
  /** The caller's correlation id; `''`: none. */
  readonly requestId: string;
  readonly api: string;
  readonly request: Request;
  /** Who asked in the end: a key that acts for its user is recorded with that user. */
  readonly subject: Subject | undefined;
  readonly context: Readonly<Record<string, unknown>> | undefined;
  readonly revision: number;
  readonly outcome: Outcome;
  /** Whether full enforcement would allow; `undefined`: it could not differ. */
  readonly shadow: boolean | undefined;
  /** Mode of the key. */
  readonly mode: string | undefined;
  /** Filter: objects asked for, visible on this page, and what full enforcement would change. */
  readonly objects:
    | {
        readonly total: number;
        readonly visible: number;
        readonly shadow_hidden: number;
        readonly shadow_shown: number;
      }
    | undefined;
  readonly durationUs: number;
  /** Record the request's attributes and context. */
  readonly withAttributes: boolean;
}

/** One JSON object, without the line's end. */
export function decisionLine(facts: DecisionFacts): string {
  const { request, outcome, shadow, subject, context, objects, mode, withAttributes } = facts;
  const { keyId } = request;
  const allowed = outcome.reason === 'ALLOWED';
  const policy = policyOf(outcome);
  let line = `{"v":${AUDIT_VERSION},"type":"decision","time":"${facts.time}","instance":"${facts.instance}","seq":${facts.seq},"decision_id":"${facts.decisionId}"`;
  if (facts.requestId !== '') line += `,"request_id":${quote(facts.requestId)}`;
  line += `,"api":"${facts.api}","tenant":${quote(request.tenant)},"revision":${facts.revision}`;
  if (subject !== undefined) line += `,"subject":${quote(`${subject.type}:${subject.id}`)}`;
  if (keyId !== undefined) line += `,"key_id":${quote(keyId)}`;
  line += `,"action":${quote(request.action)}${resourcePart(request, withAttributes)}`;
  if (withAttributes && context !== undefined) line += `,"context":${JSON.stringify(context)}`;
  if (objects !== undefined) line += `,"objects":${JSON.stringify(objects)}`;
  line += `,"allowed":${allowed},"reason":"${outcome.reason}"`;
  if (shadow !== undefined)
    line += `,"shadow":{"allowed":${shadow},"differs":${shadow !== allowed}}`;
  if (policy !== '') line += `,"policy":[${policy}]`;
  if (mode !== undefined) line += `,"mode":"${mode}"`;
  return `${line},"duration_us":${facts.durationUs}}`;
}

function resourcePart({ resource }: Request, withAttributes: boolean): string {
  const { type, id, path, attributes } = resource;
  let part = '';
  if (type !== '') part += `,"type":${quote(type)}`;
  if (id !== '') part += `,"id":${quote(id)}`;
  if (path !== undefined) part += `,"path":${quote(path)}`;
  if (withAttributes && attributes.size > 0)
    part += `,"attributes":${JSON.stringify(Object.fromEntries(attributes))}`;
  return part === '' ? '' : `,"resource":{${part.slice(1)}}`;
}

/** The rules that decided, `set/rule`; the base role by its name. */
function policyOf({ actionRule, objectRule }: Outcome): string {
  if (actionRule === undefined) return '';
  const first = quote(ruleName(actionRule));
  return objectRule === undefined || objectRule === actionRule
    ? first
    : `${first},${quote(ruleName(objectRule))}`;
}

function ruleName({ set, id }: Rule): string {
  return set === '' ? id : `${set}/${id}`;
}

// Printable ASCII but `"` and `\\` stands in JSON as it is.
const PLAIN = /^[\x20\x21\x23-\x5b\x5d-\x7e]*$/;

function quote(text: string): string {
  return PLAIN.test(text) ? `"${text}"` : JSON.stringify(text);
}
