/**
 * The messages of `proto/postern/v1/authorization.proto`, read straight into the engine's types and written
 * straight from its decisions. A test holds every message against a second, general codec.
 */
import { credentialProblemText, type CredentialProblem } from '../../engine/credential-problem.ts';
import type { Explanation, LayerVerdict } from '../../engine/explanation.ts';
import type {
  Attributes,
  PrincipalType,
  Reason,
  Request,
  Resource,
  Scalar,
  Subject,
} from '../../engine/model.ts';
import { detailOf } from '../../engine/detail.ts';
import type {
  CheckAnswer,
  CheckCall,
  Credential,
  FilterAnswer,
  FilterCall,
} from '../../service/service.ts';
import { printable } from '../../engine/validate.ts';
import { decodeToken } from '../../store/format/token.ts';
import { badRequest } from '../grpc/status.ts';
import { Reader, WireError, Writer } from './wire.ts';

/** Bounds that are kept while reading, before anything is built (api.md, Limits). */
export interface CodecLimits {
  readonly checksPerBatch: number;
  readonly objectsPerFilter: number;
  readonly attributesPerResource: number;
  readonly valuesPerAttribute: number;
  readonly sourcesPerResource: number;
  /** Over all attributes of a resource and of its sources. */
  readonly valuesPerResource: number;
}

const NO_ATTRIBUTES: Attributes = new Map();
export const NO_RESOURCE: Resource = {
  type: '',
  id: '',
  path: undefined,
  attributes: NO_ATTRIBUTES,
  sources: [],
};
/** How deep a value of `context` may nest. */
const MAX_CONTEXT_DEPTH = 16;
/** How many values an entry of `context` may hold, nested ones included. */
const MAX_CONTEXT_VALUES = 1_024;

/** A CheckRequest as it was sent; what is absent may have a default in a batch. */
export interface RawCheck {
  id: string;
  tenant: string;
  subject: Subject | undefined;
  keyId: string;
  credential: Credential | undefined;
  action: string;
  resource: Resource | undefined;
  /** Entries in the order sent. */
  context: (readonly [string, unknown])[] | undefined;
  minRevision: number;
  consistencyToken: string;
}

// ── reading ───────────────────────────────────────────────────────────────────────────────────────

/** @throws RpcError INVALID_ARGUMENT */
export function decodeCheck(bytes: Buffer, limits: CodecLimits): CheckCall {
  return decoding(() => toCall(readCheck(new Reader(bytes), limits)));
}

/** The `id` of a CheckRequest that cannot be read as a whole, so that its answer finds the asker; `''`: it has none. */
export function idOf(bytes: Buffer): string {
  let id = '';
  try {
    const reader = new Reader(bytes);
    while (reader.next())
      if (reader.field === 1) id = reader.string('id');
      else reader.skip();
  } catch {
    // What stands before the broken part is all there is.
  }
  return id;
}

/** Bytes that are no message are the caller's mistake, and told as such. */
export function decoding<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof WireError)
      throw badRequest('', `the message cannot be read: ${error.message}`);
    throw error;
  }
}

export function emptyCheck(): RawCheck {
  return {
    id: '',
    tenant: '',
    subject: undefined,
    keyId: '',
    credential: undefined,
    action: '',
    resource: undefined,
    context: undefined,
    minRevision: 0,
    consistencyToken: '',
  };
}

export function readCheck(reader: Reader, limits: CodecLimits): RawCheck {
  const check = emptyCheck();
  while (reader.next())
    switch (reader.field) {
      case 1:
        check.id = reader.string('id');
        break;
      case 2:
        check.tenant = reader.string('tenant');
        break;
      case 3:
        check.subject = once(check.subject, 'subject', readSubject(reader));
        break;
      case 4:
        check.keyId = reader.string('key_id');
        break;
      case 5:
        check.credential = once(check.credential, 'credential', readCredential(reader));
        break;
      case 6:
        check.action = reader.string('action');
        break;
      case 7:
        check.resource = once(check.resource, 'resource', readResource(reader, -1, limits));
        break;
      case 8:
        check.context ??= [];
        if (check.context.length === limits.attributesPerResource)
          throw badRequest(
            'context',
            `more than ${limits.attributesPerResource} entries: raise \`limits.attributes_per_resource\` if they are needed`,
          );
        check.context.push(readJsonField(reader, { depth: MAX_CONTEXT_DEPTH, values: 0 }));
        break;
      case 9:
        check.minRevision = reader.uint('min_revision');
        break;
      case 10:
        check.consistencyToken = reader.string('consistency_token');
        break;
      default:
        reader.skip();
    }
  return check;
}

/** Decoders disagree on a message field that is sent twice (merge or replace): refused. */
export function once<T>(before: T | undefined, field: string, value: T): T {
  if (before !== undefined) throw badRequest(field, 'is sent twice: send it once');
  return value;
}

export function readSubject(reader: Reader): Subject {
  const outer = reader.enter('subject');
  let type: PrincipalType = 'user';
  let id = '';
  while (reader.next())
    if (reader.field === 1) type = principalType(reader.string('subject.type'));
    else if (reader.field === 2) id = reader.string('subject.id');
    else reader.skip();
  reader.leave(outer);
  return { type, id };
}

function principalType(text: string): PrincipalType {
  if (text === '' || text === 'user') return 'user';
  if (text === 'role' || text === 'workspace') return text;
  throw badRequest('subject.type', `\`${printable(text)}\` is not one of user, role, workspace`);
}

/** Of a field that is sent twice, or of two kinds, the last would count: refused, so that nobody reads it otherwise. */
export function readCredential(reader: Reader): Credential {
  let found: Credential | undefined;
  const outer = reader.enter('credential');
  while (reader.next())
    if (reader.field === 1)
      found = once(found, 'credential', { apiKey: reader.string('credential.api_key') });
    else if (reader.field === 2)
      found = once(found, 'credential', { bearerToken: reader.string('credential.bearer_token') });
    else if (reader.field === 3)
      found = once(found, 'credential', {
        sessionToken: reader.string('credential.session_token'),
      });
    else reader.skip();
  reader.leave(outer);
  // A kind of credential that is not known here is one that proves nothing.
  return found ?? { apiKey: '' };
}

/** @param at index of an object of Filter, -1 for the resource of a check: names are made only for errors */
export function readResource(reader: Reader, at: number, limits: CodecLimits): Resource {
  const outer = reader.enter('resource');
  const resource = readResourceFields(reader, at, limits);
  reader.leave(outer);
  return resource;
}

/** The fields of a resource that the reader has gone into. */
export function readResourceFields(reader: Reader, at: number, limits: CodecLimits): Resource {
  let type = '';
  let id = '';
  let path: string | undefined;
  let attributes: Map<string, readonly Scalar[]> | undefined;
  let sources: Attributes[] | undefined;
  const place: Place = { at, source: -1, values: 0 };
  while (reader.next())
    switch (reader.field) {
      case 1:
        type = reader.string('type');
        break;
      case 2:
        id = reader.string('id');
        break;
      case 3:
        path = reader.string('path');
        break;
      case 4:
        attributes ??= new Map();
        place.source = -1;
        readAttribute(reader, attributes, place, limits);
        break;
      case 5:
        sources ??= [];
        if (sources.length === limits.sourcesPerResource)
          throw badRequest(
            `${at < 0 ? 'resource' : `objects[${at}]`}.sources`,
            `more than ${limits.sourcesPerResource} sources: raise \`limits.sources_per_resource\` if they are needed`,
          );
        place.source = sources.length;
        sources.push(readSource(reader, place, limits));
        break;
      default:
        reader.skip();
    }
  return {
    type,
    id,
    path,
    attributes: attributes ?? NO_ATTRIBUTES,
    sources: sources ?? NO_RESOURCE.sources,
  };
}

/** Where an attribute stands. */
interface Place {
  readonly at: number;
  /** -1: the resource's own attributes. */
  source: number;
  /** Values of the resource so far, those of its sources included. */
  values: number;
}

function nameOf({ at, source }: Place, key?: string): string {
  const resource = at < 0 ? 'resource' : `objects[${at}]`;
  const holder = source < 0 ? resource : `${resource}.sources[${source}]`;
  return `${holder}.attributes${key === undefined ? '' : `[${printable(key)}]`}`;
}

function readSource(reader: Reader, place: Place, limits: CodecLimits): Attributes {
  const outer = reader.enter('sources');
  const attributes = new Map<string, readonly Scalar[]>();
  while (reader.next())
    if (reader.field === 1) readAttribute(reader, attributes, place, limits);
    else reader.skip();
  reader.leave(outer);
  return attributes;
}

function readAttribute(
  reader: Reader,
  into: Map<string, readonly Scalar[]>,
  place: Place,
  limits: CodecLimits,
): void {
  const outer = reader.enter('attributes');
  let key = '';
  let values: readonly Scalar[] | undefined;
  while (reader.next())
    if (reader.field === 1) key = reader.string('attributes key');
    else if (reader.field === 2) values = readValues(reader, key, place, limits);
    else reader.skip();
  reader.leave(outer);
  if (values === undefined)
    throw badRequest(nameOf(place, key), 'has no value: send a scalar or a list');
  if (into.has(key)) throw badRequest(nameOf(place, key), 'is sent twice: send one list');
  if (into.size === limits.attributesPerResource)
    throw badRequest(
      nameOf(place),
      `more than ${limits.attributesPerResource} attributes: send those that policies name, or raise \`limits.attributes_per_resource\``,
    );
  place.values += values.length;
  if (place.values > limits.valuesPerResource)
    throw badRequest(
      nameOf(place, key),
      `more than ${limits.valuesPerResource} values in one resource, its sources included: send those that policies name, or raise \`limits.values_per_resource\``,
    );
  into.set(key, values);
}

/** A `google.protobuf.Value` that is a scalar or a list of scalars; a scalar is a list of one. */
function readValues(
  reader: Reader,
  key: string,
  place: Place,
  limits: CodecLimits,
): readonly Scalar[] | undefined {
  const outer = reader.enter('attributes value');
  let values: readonly Scalar[] | undefined;
  while (reader.next())
    values =
      reader.field === LIST_VALUE
        ? readList(reader, key, place, limits)
        : [readScalar(reader, key, place)];
  reader.leave(outer);
  return values;
}

/** Field of `google.protobuf.Value`. */
const LIST_VALUE = 6;

function readList(reader: Reader, key: string, place: Place, limits: CodecLimits): Scalar[] {
  const outer = reader.enter('list_value');
  const items: Scalar[] = [];
  while (reader.next()) {
    if (reader.field !== 1) {
      reader.skip();
      continue;
    }
    if (items.length === limits.valuesPerAttribute)
      throw badRequest(
        nameOf(place, key),
        `more than ${limits.valuesPerAttribute} values: raise \`limits.values_per_attribute\` if they are needed`,
      );
    items.push(readListItem(reader, key, place));
  }
  reader.leave(outer);
  return items;
}

function readListItem(reader: Reader, key: string, place: Place): Scalar {
  const outer = reader.enter('values');
  let value: Scalar | undefined;
  while (reader.next()) value = readScalar(reader, key, place);
  reader.leave(outer);
  if (value === undefined)
    throw badRequest(nameOf(place, key), 'holds an empty value: send scalars');
  return value;
}

function readScalar(reader: Reader, key: string, place: Place): Scalar {
  switch (reader.field) {
    case 2: {
      const value = reader.double('number_value');
      if (!Number.isFinite(value))
        throw badRequest(nameOf(place, key), `\`${value}\` is not a finite number`);
      return value;
    }
    case 3:
      return reader.string('string_value');
    case 4:
      return reader.bool('bool_value');
    case 1:
      throw badRequest(nameOf(place, key), 'is null: leave the attribute out, or send a value');
    default:
      throw badRequest(nameOf(place, key), 'is nested: send a scalar or a list of scalars');
  }
}

/** How deep a value of context may still nest, and how many values it has so far. */
interface Nesting {
  readonly depth: number;
  values: number;
}

/** Context is recorded, not decided on: any JSON value, of bounded depth and size. */
function readJsonField(reader: Reader, nesting: Nesting): readonly [string, unknown] {
  return reader.message('context', (inner) => {
    let key = '';
    let value: unknown = null;
    while (inner.next())
      if (inner.field === 1) key = inner.string('context key');
      else if (inner.field === 2) value = inner.message('context', (v) => readJson(v, nesting));
      else inner.skip();
    return [key, value];
  });
}

function readJson(reader: Reader, nesting: Nesting): unknown {
  if (nesting.depth === 0)
    throw badRequest('context', `is nested deeper than ${MAX_CONTEXT_DEPTH} levels`);
  if (++nesting.values > MAX_CONTEXT_VALUES)
    throw badRequest('context', `an entry has more than ${MAX_CONTEXT_VALUES} values: send less`);
  let value: unknown = null;
  while (reader.next())
    switch (reader.field) {
      case 1:
        reader.uint('context');
        value = null;
        break;
      case 5:
        value = Object.fromEntries(readItems(reader, nesting, readJsonField));
        break;
      case 6:
        value = readItems(reader, nesting, (list, within) =>
          list.message('context', (item) => readJson(item, within)),
        );
        break;
      default:
        value = readContextScalar(reader);
    }
  return value;
}

/** A `google.protobuf.Struct` that the reader stands at. @throws RpcError, WireError */
export function readStruct(reader: Reader): Readonly<Record<string, unknown>> {
  const nesting = { depth: MAX_CONTEXT_DEPTH, values: 0 };
  return Object.fromEntries(readItems(reader, nesting, readJsonField));
}

/** The repeated field 1 of a struct or a list, one level deeper. */
function readItems<T>(
  reader: Reader,
  nesting: Nesting,
  read: (reader: Reader, nesting: Nesting) => T,
): T[] {
  return reader.message('context', (inner) => {
    const within = { depth: nesting.depth - 1, values: nesting.values };
    const items: T[] = [];
    while (inner.next())
      if (inner.field === 1) items.push(read(inner, within));
      else inner.skip();
    nesting.values = within.values;
    return items;
  });
}

function readContextScalar(reader: Reader): Scalar {
  if (reader.field === 2) return reader.double('context');
  if (reader.field === 3) return reader.string('context');
  if (reader.field === 4) return reader.bool('context');
  throw new WireError(`\`context\` has a value of unknown kind ${reader.field}`);
}

export function toCall(raw: RawCheck): CheckCall {
  if (raw.credential !== undefined && raw.keyId !== '')
    throw badRequest('key_id', 'is given beside `credential`: send one of the two');
  const request: Request = {
    tenant: raw.tenant,
    subject: raw.subject,
    keyId: raw.keyId === '' ? undefined : raw.keyId,
    action: raw.action,
    resource: raw.resource ?? NO_RESOURCE,
  };
  return {
    id: raw.id,
    request,
    credential: raw.credential,
    context: raw.context && Object.fromEntries(raw.context),
    minRevision: raw.minRevision,
    ...(raw.consistencyToken === '' ? {} : { since: sinceOf(raw) }),
  };
}

/** @throws RpcError where the token is none, or of another tenant */
function sinceOf({ tenant, consistencyToken }: RawCheck): CheckCall['since'] {
  const since = decodeToken(tenant, consistencyToken);
  if (since === undefined)
    throw badRequest(
      'consistency_token',
      'is no token of this tenant, or was altered: send one as a write returned it',
    );
  return since;
}

// ── writing ───────────────────────────────────────────────────────────────────────────────────────

const writer = new Writer();

/** Numbers of `Reason` in the proto file. */
const REASON: Readonly<Record<Reason, number>> = {
  ALLOWED: 1,
  ACTION_DENIED: 2,
  OBJECT_HIDDEN: 3,
  NO_GRANT: 4,
  UNKNOWN_ACTION: 5,
  SUBJECT_INACTIVE: 6,
  KEY_INVALID: 7,
  TENANT_MISMATCH: 8,
  STALE: 9,
  INTERNAL: 10,
  INVALID_ARGUMENT: 11,
  UNAVAILABLE: 12,
  RATE_LIMITED: 13,
  HISTORY_LOST: 14,
  VERSION: 15,
};

export function encodeCheck(answer: CheckAnswer): Buffer {
  writeCheck(answer);
  return writer.finish();
}

function writeCheck({ id, decision, detail, decisionId, revision, ageMs }: CheckAnswer): void {
  const { allowed, reason, shadow } = decision;
  writer.string(1, id);
  writer.bool(2, allowed);
  writer.uint(3, REASON[reason]);
  writer.string(4, detail ?? detailOf(decision));
  writer.string(5, decisionId);
  writer.uint(6, revision);
  writer.uint(7, Math.round(ageMs));
  if (shadow === undefined) return;
  const would = shadow.reason === 'ALLOWED';
  writer.message(8, () => {
    writer.bool(1, would);
    writer.bool(2, would !== allowed);
  });
}

export function encodeBatch(answers: readonly CheckAnswer[]): Buffer {
  for (const answer of answers) writer.message(1, () => writeCheck(answer));
  return writer.finish();
}

export function encodeFilter(call: FilterCall, answer: FilterAnswer): Buffer {
  const { result, decisionId, revision, ageMs } = answer;
  const ids = (field: number, indexes: readonly number[]): void => {
    for (const index of indexes) writer.element(field, call.objects[index]?.id ?? '');
  };
  writer.bool(1, result.actionAllowed);
  writer.uint(2, REASON[result.reason]);
  if (!call.indexesOnly) ids(3, result.visible);
  writer.packed(4, result.visible);
  writer.bool(5, result.complete);
  writer.uint(6, result.nextOffset);
  writer.string(7, decisionId);
  writer.uint(8, revision);
  writer.uint(9, Math.round(ageMs));
  ids(10, result.shadowHidden);
  ids(11, result.shadowShown);
  for (const [index, problem] of answer.invalid)
    writer.message(12, () => {
      writer.uint(1, index);
      writer.string(2, problem);
    });
  return writer.finish();
}

const VERDICT: Readonly<Record<LayerVerdict, number>> = { allow: 1, deny: 2, silent: 3 };

/** @param problem why the credential proves nobody, where the caller may know: for others it is left out */
export function encodeExplain(
  answer: CheckAnswer & { readonly explanation: Explanation },
  problem?: CredentialProblem,
): Buffer {
  const { layers, missing, missingComplete } = answer.explanation;
  writer.message(1, () => writeCheck(answer));
  for (const layer of layers)
    writer.message(2, () => {
      writer.string(1, layer.name);
      writer.uint(2, VERDICT[layer.verdict]);
      const isToldWhy = problem !== undefined && layer.name === 'credential';
      writer.string(3, isToldWhy ? credentialProblemText(problem) : layer.summary);
      for (const fact of layer.facts)
        writer.message(4, () => {
          writer.string(1, fact.kind);
          writer.string(2, fact.text);
          for (const link of fact.chain ?? []) writer.element(3, link);
        });
    });
  for (const { kind, text } of missing)
    writer.message(3, () => {
      writer.string(1, kind);
      writer.string(2, text);
    });
  writer.bool(4, missingComplete);
  writer.string(5, problem ?? '');
  return writer.finish();
}
