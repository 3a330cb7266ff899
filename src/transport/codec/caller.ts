/** Who a request says is asking: its `subject` and its `credential`. */
import { PRINCIPAL_TYPES, type PrincipalType, type Subject } from '../../engine/model.ts';
import { printable } from '../../engine/validate.ts';
import type { Credential } from '../../service/calls.ts';
import { DecodeProblem } from './problem.ts';
import type { Reader } from './wire.ts';

/** Decoders disagree on a message field that is sent twice (merge or replace): refused. */
export function once<T>(before: T | undefined, field: string, value: T): T {
  if (before !== undefined) throw new DecodeProblem(field, 'is sent twice: send it once');
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

/** `''` is the default of the field: a user. */
function principalType(text: string): PrincipalType {
  if (text === '') return 'user';
  const type = PRINCIPAL_TYPES.find((one) => one === text);
  if (type !== undefined) return type;
  const problem = `\`${printable(text)}\` is not one of ${PRINCIPAL_TYPES.join(', ')}`;
  throw new DecodeProblem('subject.type', problem);
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
