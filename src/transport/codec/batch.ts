/** `BatchCheckRequest`, and `BatchCheckResponse`. What is wrong with one check is its own answer: the others are answered. */
import type { BatchCall, BatchSemantic, CheckAnswer } from '../../service/calls.ts';
import type { SteppedWork } from '../../util/slices.ts';
import { once, readCredential, readSubject } from './caller.ts';
import { emptyCheck, idOf, readCheck, toCall, writeCheck, type RawCheck } from './check.ts';
import { inOneStep, STEP_BYTES, STEP_ENTRIES } from './in-steps.ts';
import type { CodecLimits } from './limits.ts';
import { DecodeProblem, isMalformed } from './problem.ts';
import { readResource } from './resource.ts';
import { Reader, Writer } from './wire.ts';

/** @throws DecodeProblem where the batch itself is malformed */
export function decodeBatch(bytes: Buffer, limits: CodecLimits): BatchCall {
  return inOneStep(decodeBatchInSteps(bytes, limits));
}

/** A check of a batch as it was read; one that cannot be read is its error. */
type Item = RawCheck | { readonly id: string; readonly error: string };

/** @throws DecodeProblem or WireError where the batch itself is malformed */
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
        throw new DecodeProblem(
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
    if (!isMalformed(error)) throw error;
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
    if (!isMalformed(error)) throw error;
    return { id: item.id, error: error.message };
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

/** By their numbers in the proto file; 0 is the default. */
const SEMANTICS: readonly BatchSemantic[] = [
  'EXECUTE_ALL',
  'EXECUTE_ALL',
  'DENY_ON_FIRST_DENY',
  'PERMIT_ON_FIRST_PERMIT',
];

function readSemantic(reader: Reader): BatchSemantic {
  const value = reader.uint('semantic');
  const semantic = SEMANTICS[value];
  if (semantic === undefined)
    throw new DecodeProblem('semantic', `${value} is not a known semantic`);
  return semantic;
}

const writer = new Writer();

export function encodeBatch(answers: readonly CheckAnswer[]): Buffer {
  for (const answer of answers) writer.message(1, () => writeCheck(writer, answer));
  return writer.finish();
}
