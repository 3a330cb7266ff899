/**
 * Audit records: what is written of a decision, and nothing that is a secret. Pure. A record is made as the one
 * JSON line that it will be, piece by piece, and in two parts, of which the second is the same each time that a
 * question is asked: most of a decision's own cost would else be its record's.
 */
import type { Rule } from '../engine/abac.ts';
import type { Outcome, Request, Subject } from '../engine/model.ts';

/** Version of the record's shape. */
const AUDIT_VERSION = 1;

/** What only one record tells; see docs/operations.md for all fields. */
export interface DecisionEvent {
  readonly decisionId: string;
  /** Dense an instance: a reader can prove that no record is missing. */
  readonly seq: number;
  readonly instance: string;
  /** ISO 8601, UTC. */
  readonly time: string;
  /** The caller's correlation id; `''`: none. */
  readonly requestId: string;
  readonly api: string;
  readonly revision: number;
  readonly durationUs: number;
}

/** What the records of one question tell every time, while the facts stay as they are. */
export interface DecisionContent {
  readonly request: Request;
  /** Who asked in the end: a key that acts for its user is recorded with that user. */
  readonly subject: Subject | undefined;
  readonly context: Readonly<Record<string, unknown>> | undefined;
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
  /** Record the request's attributes and context. */
  readonly withAttributes: boolean;
}

/** The first part of a record; `contentOf` makes the rest of the JSON object. */
export function eventOf(event: DecisionEvent): string {
  const { requestId } = event;
  const request = requestId === '' ? '' : `,"request_id":${quote(requestId)}`;
  return `{"v":${AUDIT_VERSION},"type":"decision","time":"${event.time}","instance":"${event.instance}","seq":${event.seq},"decision_id":"${event.decisionId}"${request},"api":"${event.api}","duration_us":${event.durationUs},"revision":${event.revision}`;
}

/** The rest of a record, its closing brace included. */
export function contentOf(content: DecisionContent): string {
  const { request, outcome, shadow, subject, context, objects, mode, withAttributes } = content;
  const { keyId } = request;
  const allowed = outcome.reason === 'ALLOWED';
  const policy = policyOf(outcome);
  let part = `,"tenant":${quote(request.tenant)}`;
  if (subject !== undefined) part += `,"subject":${quote(`${subject.type}:${subject.id}`)}`;
  if (keyId !== undefined) part += `,"key_id":${quote(keyId)}`;
  part += `,"action":${quote(request.action)}${resourcePart(request, withAttributes)}`;
  if (withAttributes && context !== undefined) part += `,"context":${JSON.stringify(context)}`;
  if (objects !== undefined) part += `,"objects":${JSON.stringify(objects)}`;
  part += `,"allowed":${allowed},"reason":"${outcome.reason}"`;
  if (shadow !== undefined)
    part += `,"shadow":{"allowed":${shadow},"differs":${shadow !== allowed}}`;
  if (policy !== '') part += `,"policy":[${policy}]`;
  if (mode !== undefined) part += `,"mode":"${mode}"`;
  return `${part}}`;
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
