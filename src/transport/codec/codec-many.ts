/**
 * BatchCheck and Filter, the messages that may be large. They are read in steps, so that their callers hold nobody up
 * (ADM-11). What is wrong with one check or object is told of that one, and the others are answered (FILT-5).
 */
import type { Resource } from '../../engine/model.ts';
import type { BatchCall, BatchSemantic, FilterCall } from '../../service/service.ts';
import type { SteppedWork } from '../../util/slices.ts';
import {
  decoding,
  emptyCheck,
  idOf,
  NO_RESOURCE,
  once,
  readCheck,
  readCredential,
  readResource,
  readResourceFields,
  readSubject,
  toCall,
  type CodecLimits,
  type RawCheck,
} from './codec.ts';
import { badRequest } from '../grpc/status.ts';
import { Reader } from './wire.ts';

/** Bytes, and checks or objects, that are read between two steps. Errors cost more than bytes: hence both. */
const STEP_BYTES = 16_384;
const STEP_ENTRIES = 256;

/** Takes all steps at once. */
function whole<T>(work: SteppedWork<T>): T {
  return decoding(() => {
    for (;;) {
      const { done, value } = work.next(false);
      if (done === true) return value;
    }
  });
}

// ── BatchCheck ────────────────────────────────────────────────────────────────────────────────────

/** @throws RpcError INVALID_ARGUMENT where the batch itself is malformed */
export function decodeBatch(bytes: Buffer, limits: CodecLimits): BatchCall {
  return whole(decodeBatchInSteps(bytes, limits));
}

/** A check of a batch as it was read; one that cannot be read is its error. */
type Item = RawCheck | { readonly id: string; readonly error: string };

/** @throws RpcError or WireError where the batch itself is malformed */
export function* decodeBatchInSteps(bytes: Buffer, limits: CodecLimits): SteppedWork<BatchCall> {
  const defaults = emptyCheck();
  const items: Item[] = [];
  let semantic: BatchSemantic = 'EXECUTE_ALL';
  const reader = new Reader(bytes);
  let stepAt = STEP_BYTES;
  while (reader.next()) {
    if (reader.position() >= stepAt || items.length % STEP_ENTRIES === STEP_ENTRIES - 1) {
      stepAt = reader.position() + STEP_BYTES;
      yield;
    }
    if (reader.field === 8) {
      if (items.length === limits.checksPerBatch)
        throw badRequest(
          'checks',
          `more than ${limits.checksPerBatch} checks: split the batch or raise \`limits.checks_per_batch\``,
        );
      items.push(readItem(reader, bytes, limits));
    } else if (reader.field === 9) semantic = readSemantic(reader);
    else readDefault(reader, defaults, limits);
  }
  return { semantic, checks: items.map((item) => toCheck(item, defaults)) };
}

function readDefault(reader: Reader, defaults: RawCheck, limits: CodecLimits): void {
  switch (reader.field) {
    case 1:
      defaults.tenant = reader.string('tenant');
      break;
    case 2:
      defaults.subject = once(defaults.subject, 'subject', readSubject(reader));
      break;
    case 3:
      defaults.keyId = reader.string('key_id');
      break;
    case 4:
      defaults.credential = once(defaults.credential, 'credential', readCredential(reader));
      break;
    case 5:
      defaults.action = reader.string('action');
      break;
    case 6:
      defaults.resource = once(defaults.resource, 'resource', readResource(reader, -1, limits));
      break;
    case 7:
      defaults.minRevision = reader.uint('min_revision');
      break;
    case 10:
      defaults.consistencyToken = reader.string('consistency_token');
      break;
    default:
      reader.skip();
  }
}

/** An item that cannot be read is its error; the reader stands behind it all the same. */
function readItem(reader: Reader, bytes: Buffer, limits: CodecLimits): Item {
  const outer = reader.enter('checks');
  const start = reader.position();
  const end = reader.end();
  try {
    return readCheck(reader, limits);
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    return { id: idOf(bytes.subarray(start, end)), error: error.message };
  } finally {
    reader.leaveFrom(end, outer);
  }
}

function toCheck(item: Item, defaults: RawCheck): BatchCall['checks'][number] {
  if ('error' in item) return item;
  try {
    return toCall(withDefaults(item, defaults));
  } catch (error) {
    if (error instanceof Error) return { id: item.id, error: error.message };
    throw error;
  }
}

/** Each field given replaces the default whole; a key or a credential replaces both. */
function withDefaults(check: RawCheck, defaults: RawCheck): RawCheck {
  const ownsKey = check.keyId !== '' || check.credential !== undefined;
  return {
    ...check,
    tenant: check.tenant === '' ? defaults.tenant : check.tenant,
    subject: check.subject ?? defaults.subject,
    keyId: ownsKey ? check.keyId : defaults.keyId,
    credential: ownsKey ? check.credential : defaults.credential,
    action: check.action === '' ? defaults.action : check.action,
    resource: check.resource ?? defaults.resource,
    minRevision: check.minRevision === 0 ? defaults.minRevision : check.minRevision,
    consistencyToken:
      check.consistencyToken === '' ? defaults.consistencyToken : check.consistencyToken,
  };
}

const SEMANTICS: readonly BatchSemantic[] = [
  'EXECUTE_ALL',
  'EXECUTE_ALL',
  'DENY_ON_FIRST_DENY',
  'PERMIT_ON_FIRST_PERMIT',
];

function readSemantic(reader: Reader): BatchSemantic {
  const value = reader.uint('semantic');
  const semantic = SEMANTICS[value];
  if (semantic === undefined) throw badRequest('semantic', `${value} is not a known semantic`);
  return semantic;
}

// ── Filter ────────────────────────────────────────────────────────────────────────────────────────

/** @throws RpcError INVALID_ARGUMENT where the call itself is malformed */
export function decodeFilter(bytes: Buffer, limits: CodecLimits): FilterCall {
  return whole(decodeFilterInSteps(bytes, limits));
}

/** The fields of a FilterRequest beside its objects. */
interface RawFilter {
  readonly caller: RawCheck;
  limit: number;
  offset: number;
  indexesOnly: boolean;
}

/** @throws RpcError or WireError where the call itself is malformed */
export function* decodeFilterInSteps(bytes: Buffer, limits: CodecLimits): SteppedWork<FilterCall> {
  const filter: RawFilter = { caller: emptyCheck(), limit: 0, offset: 0, indexesOnly: false };
  const objects: Resource[] = [];
  const invalid = new Map<number, string>();
  const reader = new Reader(bytes);
  let stepAt = STEP_BYTES;
  while (reader.next()) {
    if (reader.position() >= stepAt || objects.length % STEP_ENTRIES === STEP_ENTRIES - 1) {
      stepAt = reader.position() + STEP_BYTES;
      yield;
    }
    if (reader.field === 6) {
      if (objects.length === limits.objectsPerFilter)
        throw badRequest(
          'objects',
          `more than ${limits.objectsPerFilter} objects: page through them or raise \`limits.objects_per_filter\``,
        );
      objects.push(readObject(reader, objects.length, limits, invalid));
    } else readFilterField(reader, filter);
  }
  const { caller, limit, offset, indexesOnly } = filter;
  return { ...toCall(caller), objects, invalid, limit, offset, indexesOnly };
}

function readFilterField(reader: Reader, filter: RawFilter): void {
  const { caller } = filter;
  switch (reader.field) {
    case 1:
      caller.tenant = reader.string('tenant');
      break;
    case 2:
      caller.subject = once(caller.subject, 'subject', readSubject(reader));
      break;
    case 3:
      caller.keyId = reader.string('key_id');
      break;
    case 4:
      caller.credential = once(caller.credential, 'credential', readCredential(reader));
      break;
    case 5:
      caller.action = reader.string('action');
      break;
    case 7:
      filter.limit = reader.uint32('limit');
      break;
    case 8:
      filter.offset = reader.uint32('offset');
      break;
    case 9:
      caller.minRevision = reader.uint('min_revision');
      break;
    case 10:
      filter.indexesOnly = reader.bool('indexes_only');
      break;
    case 11:
      caller.id = reader.string('id');
      break;
    case 12:
      caller.consistencyToken = reader.string('consistency_token');
      break;
    default:
      reader.skip();
  }
}

/** An object that cannot be read is empty here and named in `invalid` (FILT-5); the reader stands behind it. */
function readObject(
  reader: Reader,
  index: number,
  limits: CodecLimits,
  invalid: Map<number, string>,
): Resource {
  if (!reader.hasBytes()) {
    reader.skip();
    invalid.set(index, `objects[${index}]: is no Resource message: send one`);
    return NO_RESOURCE;
  }
  const outer = reader.enter('objects');
  const end = reader.end();
  try {
    return readResourceFields(reader, index, limits);
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    const at = `objects[${index}]`;
    const { message } = error;
    invalid.set(index, message.startsWith(at) ? message : `${at}: cannot be read: ${message}`);
    return NO_RESOURCE;
  } finally {
    reader.leaveFrom(end, outer);
  }
}
