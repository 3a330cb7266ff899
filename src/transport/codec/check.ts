/** `CheckRequest`, read straight into the engine's types, and `CheckResponse`, written straight from a decision. */
import { differs } from '../../engine/decision.ts';
import { detailOf } from '../../engine/detail.ts';
import type { Reason, Request, Resource, Subject } from '../../engine/model.ts';
import type { CheckAnswer, CheckCall, Credential } from '../../service/calls.ts';
import { decodeToken } from '../../store/format/token.ts';
import { once, readCredential, readSubject } from './caller.ts';
import type { CodecLimits } from './limits.ts';
import { decoding, DecodeProblem } from './problem.ts';
import { NO_RESOURCE, readResource } from './resource.ts';
import { readContextEntry } from './struct.ts';
import { Reader, Writer } from './wire.ts';

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

/** @throws DecodeProblem */
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
          throw new DecodeProblem(
            'context',
            `more than ${limits.attributesPerResource} entries: raise \`limits.attributes_per_resource\` if they are needed`,
          );
        check.context.push(readContextEntry(reader));
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

/** @throws DecodeProblem */
export function toCall(raw: RawCheck): CheckCall {
  if (raw.credential !== undefined && raw.keyId !== '')
    throw new DecodeProblem('key_id', 'is given together with `credential`: send one of the two');
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

/** @throws DecodeProblem where the token cannot be read, or is one of another tenant */
function sinceOf({ tenant, consistencyToken }: RawCheck): CheckCall['since'] {
  const since = decodeToken(tenant, consistencyToken);
  if (since === undefined)
    throw new DecodeProblem(
      'consistency_token',
      'is not a token of this tenant, or was altered: send the token that a write returned',
    );
  return since;
}

const writer = new Writer();

/** Numbers of `Reason` in the proto file. */
export const REASON: Readonly<Record<Reason, number>> = {
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
  writeCheck(writer, answer);
  return writer.finish();
}

/** Writes a CheckResponse as the message, or a part of it, that is being written. */
export function writeCheck(
  writer: Writer,
  { id, decision, detail, decisionId, revision, ageMs }: CheckAnswer,
): void {
  const { allowed, reason, shadow } = decision;
  writer.string(1, id);
  writer.bool(2, allowed);
  writer.uint(3, REASON[reason]);
  writer.string(4, detail ?? detailOf(decision));
  writer.string(5, decisionId);
  writer.uint(6, revision);
  writer.uint(7, Math.round(ageMs));
  if (shadow === undefined) return;
  writer.message(8, () => {
    writer.bool(1, shadow.reason === 'ALLOWED');
    writer.bool(2, differs(decision, shadow));
  });
}
