/** `FilterRequest`, and `FilterResponse`. What is wrong with one object is told of that one (FILT-5). */
import type { Resource } from '../../engine/model.ts';
import type { FilterAnswer, FilterCall } from '../../service/calls.ts';
import type { SteppedWork } from '../../util/slices.ts';
import { once, readCredential, readSubject } from './caller.ts';
import { emptyCheck, REASON, toCall, type RawCheck } from './check.ts';
import { inOneStep, STEP_BYTES, STEP_ENTRIES } from './in-steps.ts';
import type { CodecLimits } from './limits.ts';
import { DecodeProblem, isMalformed } from './problem.ts';
import { NO_RESOURCE, readResourceFields } from './resource.ts';
import { Reader, Writer } from './wire.ts';

/** A FilterRequest: the call of the service, and how its answer is written. */
export interface FilterMessage extends FilterCall {
  /** The answer names visible objects by their indexes alone, not by their ids. */
  readonly indexesOnly: boolean;
}

/** @throws DecodeProblem where the call itself is malformed */
export function decodeFilter(bytes: Buffer, limits: CodecLimits): FilterMessage {
  return inOneStep(decodeFilterInSteps(bytes, limits));
}

/** The fields of a FilterRequest beside its objects. */
interface RawFilter {
  readonly caller: RawCheck;
  limit: number;
  offset: number;
  indexesOnly: boolean;
}

/** @throws DecodeProblem or WireError where the call itself is malformed */
export function* decodeFilterInSteps(
  bytes: Buffer,
  limits: CodecLimits,
): SteppedWork<FilterMessage> {
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
        throw new DecodeProblem(
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
    invalid.set(index, `objects[${index}]: is not a Resource message: send one`);
    return NO_RESOURCE;
  }
  const outer = reader.enter('objects');
  const end = reader.end();
  try {
    return readResourceFields(reader, index, limits);
  } catch (error) {
    if (!isMalformed(error)) throw error;
    const at = `objects[${index}]`;
    const { message } = error;
    invalid.set(index, message.startsWith(at) ? message : `${at}: cannot be read: ${message}`);
    return NO_RESOURCE;
  } finally {
    reader.leaveFrom(end, outer);
  }
}

const writer = new Writer();

export function encodeFilter(call: FilterMessage, answer: FilterAnswer): Buffer {
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
