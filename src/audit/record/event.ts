/**
 * Audit records of decisions: what is written of one, and nothing that is a secret. Pure. A record is made as the
 * one JSON line that it will be, piece by piece, and in two parts, of which the second is the same each time that
 * a question is asked: most of a decision's own cost would else be its record's.
 */
import type { Rule } from '../../engine/abac.ts';
import type { CredentialProblem } from '../../engine/credential-problem.ts';
import { differs, type Outcome } from '../../engine/decision.ts';
import type { Attributes, Request, Resource, Subject } from '../../engine/model.ts';
import { AUDIT_VERSION, type Api } from '../fields.ts';
import type { Redact } from './redact.ts';
import { quote, stringify } from './json.ts';
import { withoutTokens } from '../../util/tokens.ts';

/** What only one record tells; see docs/audit-fields.md for all fields. */
export interface DecisionEvent {
  readonly decisionId: string;
  /** Dense an instance: a reader can prove that no record is missing. */
  readonly seq: number;
  /** Random; it goes where the record is erased (`seal.ts`). Absent: none. */
  readonly salt?: string;
  readonly instance: string;
  /** ISO 8601, UTC. */
  readonly time: string;
  /** The caller's correlation id; `''`: none. */
  readonly requestId: string;
  readonly api: Api;
  readonly revision: number;
  readonly durationUs: number;
  /** Of the allows that are like this one, the share that is recorded; 1: all. */
  readonly sampleRate: number;
}

/** What the records of one question tell every time, while the facts stay as they are. */
export interface DecisionContent {
  readonly request: Request;
  /** Who asked in the end: a key that acts for its user is recorded with that user. */
  readonly subject: Subject | undefined;
  readonly context: Readonly<Record<string, unknown>> | undefined;
  readonly outcome: Outcome;
  /** Under full enforcement; `undefined`: it could not differ. */
  readonly shadow: Outcome | undefined;
  /** Mode of the key. */
  readonly mode: string | undefined;
  /** Why the credential proved nobody; `undefined`: it did, or there was none. */
  readonly credentialProblem?: CredentialProblem | undefined;
  readonly objects: FilteredObjects | undefined;
  /** What is left out of it, or altered; `undefined`: everything is recorded as it is. */
  readonly redact: Redact | undefined;
}

/** The objects of a Filter as a record holds them, after the field policy. */
export interface ItemsText {
  /** JSON texts, joined by commas. */
  readonly text: string;
  /** The field policy has altered some of them. */
  readonly isAltered: boolean;
}

/** Filter: what was asked for, what is visible on this page, and what full enforcement would change. */
export interface FilteredObjects {
  readonly items: readonly Resource[];
  readonly offset: number;
  readonly limit: number;
  /** Indexes. */
  readonly visible: readonly number[];
  readonly shadowHidden: number;
  readonly shadowShown: number;
  /** The items as the record holds them, where they were made before: the text of thousands takes time. */
  readonly made?: ItemsText | undefined;
  /** Indexes of those that are malformed (FILT-5); absent: none. */
  readonly invalid?: readonly number[];
}

/** The first part of a record; `contentOf` makes the rest of the JSON object. */
export function eventOf(event: DecisionEvent): string {
  const { requestId, sampleRate, salt } = event;
  const salted = salt === undefined ? '' : `,"salt":"${salt}"`;
  const request = requestId === '' ? '' : `,"request_id":${quote(requestId)}`;
  const sampled = sampleRate === 1 ? '' : `,"sample_rate":${sampleRate}`;
  return `{"v":${AUDIT_VERSION},"type":"decision","time":"${event.time}","instance":"${event.instance}","seq":${event.seq}${salted},"decision_id":"${event.decisionId}"${request},"api":"${event.api}","duration_us":${event.durationUs}${sampled},"revision":${event.revision}`;
}

/** The rest of a record, its closing brace included. A token that stands anywhere in it is removed. */
export function contentOf(content: DecisionContent): string {
  const { redact } = content;
  if (redact === undefined) return withoutTokens(partOf(content, true));
  if (redact.withoutInputs) return withoutTokens(partOf(content, false));
  // The whole record is made first, then redacted: only where fields have rules of their own.
  const { objects } = content;
  const made = redact.items === 'replace' ? undefined : objects?.made;
  const left = objects && { ...objects, made: NO_ITEMS };
  const part = partOf(made === undefined ? content : { ...content, objects: left }, true);
  const record = redact.record(JSON.parse(`{${part.slice(1)}`) as Record<string, unknown>);
  return `,${withoutTokens(made === undefined ? stringify(record) : withItems(record, made)).slice(1)}`;
}

const NO_ITEMS: ItemsText = { text: '', isAltered: false };

/** A redacted record as text, with the objects of its Filter, which were made and redacted before. */
function withItems(record: Readonly<Record<string, unknown>>, made: ItemsText): string {
  const { objects, omitted = [], ...others } = record;
  const { items: _none, ...rest } = objects as Readonly<Record<string, unknown>>;
  const names = new Set([...(omitted as readonly string[]), ...(made.isAltered ? [ITEMS] : [])]);
  const told = names.size === 0 ? others : { ...others, omitted: [...names] };
  const list = withField(stringify(rest), 'items', `[${made.text}]`);
  return withField(stringify(told), 'objects', list);
}

/** An object as text, with one more field. */
function withField(object: string, name: string, value: string): string {
  return `${object.slice(0, -1)}${object === '{}' ? '' : ','}"${name}":${value}}`;
}

const ITEMS = 'objects.items';

function partOf(content: DecisionContent, withInputs: boolean): string {
  const { request, outcome, shadow, subject, context, objects, mode } = content;
  const { keyId } = request;
  const omitted: string[] = [];
  const allowed = outcome.reason === 'ALLOWED';
  const policy = policyOf(outcome);
  let part = `,"tenant":${quote(request.tenant)}`;
  if (subject !== undefined) part += `,"subject":${quote(`${subject.type}:${subject.id}`)}`;
  if (keyId !== undefined) part += `,"key_id":${quote(keyId)}`;
  part += `,"action":${quote(request.action)}`;
  const resource = resourceOf(request.resource, withInputs, omitted);
  if (resource !== '{}') part += `,"resource":${resource}`;
  if (context !== undefined)
    if (withInputs) part += `,"context":${stringify(context)}`;
    else omitted.push('context');
  if (objects !== undefined) part += `,"objects":${objectsOf(objects, withInputs, omitted)}`;
  part += `,"allowed":${allowed},"reason":"${outcome.reason}"`;
  if (content.credentialProblem !== undefined)
    part += `,"credential_problem":"${content.credentialProblem}"`;
  if (shadow !== undefined) {
    const would = shadow.reason === 'ALLOWED';
    const rules = policyOf(shadow);
    part += `,"shadow":{"allowed":${would},"differs":${differs(outcome, shadow)}}`;
    if (rules !== '') part += `,"shadow_policy":[${rules}]`;
  }
  if (policy !== '') part += `,"policy":[${policy}]`;
  if (mode !== undefined) part += `,"mode":"${mode}"`;
  if (omitted.length > 0) part += `,"omitted":${JSON.stringify(omitted)}`;
  return `${part}}`;
}

/** Texts of large resources: the checks of a batch may share one. */
const texts = new WeakMap<Resource, string>();
/** Attributes beyond which a resource is large; one with sources is, too. */
const MANY_ATTRIBUTES = 8;

function resourceOf(resource: Resource, withInputs: boolean, omitted: string[]): string {
  const isLarge = resource.sources.length > 0 || resource.attributes.size > MANY_ATTRIBUTES;
  if (!withInputs || !isLarge) return textOf(resource, withInputs, omitted);
  const known = texts.get(resource);
  if (known !== undefined) return known;
  const text = textOf(resource, true, omitted);
  texts.set(resource, text);
  return text;
}

function textOf(
  { type, id, path, attributes, sources }: Resource,
  withInputs: boolean,
  omitted: string[],
): string {
  let part = '';
  if (type !== '') part += `,"type":${quote(type)}`;
  if (id !== '') part += `,"id":${quote(id)}`;
  if (path !== undefined) part += `,"path":${quote(path)}`;
  if (attributes.size > 0)
    if (withInputs) part += `,"attributes":${attributesOf(attributes)}`;
    else omitted.push('resource.attributes');
  if (sources.length > 0)
    if (withInputs) part += `,"sources":[${sources.map(attributesOf).join(',')}]`;
    else omitted.push('resource.sources');
  return part === '' ? '{}' : `{${part.slice(1)}}`;
}

function objectsOf(objects: FilteredObjects, withInputs: boolean, omitted: string[]): string {
  const { items, visible, offset, limit, shadowHidden, shadowShown, invalid = [] } = objects;
  let part = `{"total":${items.length},"visible":${visible.length},"shadow_hidden":${shadowHidden},"shadow_shown":${shadowShown}`;
  if (invalid.length > 0)
    part += `,"invalid":${invalid.length},"invalid_indexes":${JSON.stringify(invalid)}`;
  if (withInputs) {
    part += `,"offset":${offset},"limit":${limit}`;
    const malformed = new Set(invalid);
    const text =
      objects.made?.text ??
      items.map((item, index) => (malformed.has(index) ? '{}' : itemText(item))).join(',');
    part += `,"items":[${text}]`;
    part += `,"visible_indexes":${JSON.stringify(visible)}`;
  } else if (items.length > 0) omitted.push(ITEMS);
  return `${part}}`;
}

/** One object of a Filter as records hold it before redaction. */
function itemText(item: Resource): string {
  return textOf(item, true, []);
}

/** What a record holds of a Filter's object after the field policy; `undefined` text: nothing. */
export interface ItemText {
  readonly text: string | undefined;
  readonly isAltered: boolean;
}

/**
 * How records hold the objects of a Filter, one by one.
 * @returns `undefined`: they do not, or the field policy replaces the list as a whole
 */
export function itemTexts(
  redact: Redact | undefined,
): ((item: Resource | undefined) => ItemText) | undefined {
  if (redact === undefined || (!redact.withoutInputs && redact.items === 'keep'))
    return (item) => ({ text: item === undefined ? '{}' : itemText(item), isAltered: false });
  if (redact.withoutInputs || redact.items === 'replace') return undefined;
  return (item) => {
    const whole = item === undefined ? {} : (JSON.parse(itemText(item)) as Record<string, unknown>);
    const { value, isAltered } = redact.item(whole);
    return { text: value === undefined ? undefined : stringify(value), isAltered };
  };
}

/** Keys are ordinary, `__proto__` included: the text is made of them one by one (ID-3). */
function attributesOf(attributes: Attributes): string {
  const fields = [...attributes].map(([key, values]) => `${quote(key)}:${stringify(values)}`);
  return `{${fields.join(',')}}`;
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
