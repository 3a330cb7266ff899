/**
 * Services ask the same questions again and again. A question that was read lately is found by its bytes, and
 * with it what the service concluded from which facts: reading it again costs more than deciding it.
 */
import type { CheckCall } from '../../service/calls.ts';

/** Questions kept a generation at most; there are two, so that what is asked again stays and the rest goes. */
const KEPT = 1_024;
/** About what a question takes with its answer and record, and how often its own bytes come in them. */
const BYTES_AN_ENTRY = 2_048;
const COPIES = 4;
/** Longer questions are read each time, bytes. */
const LONGEST = 1_024;
/** Tag of `CheckRequest.id`, the one field that differs from call to call; encoders write it first. */
const ID_TAG = 0x0a;

export interface Repeats {
  /** Reads a CheckRequest, and throws as the decoder does. */
  readonly read: (bytes: Buffer) => CheckCall;
  /** Lets go of all questions that are kept, and of their answers. */
  readonly forget: () => void;
  /** What the questions take, by an estimate. */
  readonly bytes: () => number;
}

/**
 * @param decode reads a CheckRequest, and throws where it cannot
 * @param maxBytes of all questions together, by an estimate
 */
export function rememberingRepeats(
  decode: (bytes: Buffer) => CheckCall,
  maxBytes: number,
): Repeats {
  let young = new Map<string, CheckCall>();
  let old = new Map<string, CheckCall>();
  const bytes = { young: 0, old: 0 };

  const keep = (question: string, call: CheckCall): void => {
    const size = BYTES_AN_ENTRY + COPIES * question.length;
    if (young.size >= KEPT || bytes.young + size > maxBytes / 2) {
      old = young;
      bytes.old = bytes.young;
      young = new Map();
      bytes.young = 0;
    }
    if (size > maxBytes / 2) return;
    bytes.young += size;
    young.set(question, call);
  };

  const read = (bytes: Buffer): CheckCall => {
    if (bytes.length > LONGEST) return decode(bytes);
    const at = endOfId(bytes);
    const question = bytes.toString('latin1', at);
    let known = young.get(question);
    if (known === undefined) {
      known = old.get(question) ?? { ...decode(bytes.subarray(at)), isKept: true };
      // A secret stays nowhere; an id that is not first is no part of the question.
      if (known.credential !== undefined || known.id !== '') return decode(bytes);
      keep(question, known);
    }
    return at === 0 ? known : { ...known, id: bytes.toString('latin1', 2, at) };
  };
  return {
    read,
    forget(): void {
      young = new Map();
      old = new Map();
      bytes.young = 0;
      bytes.old = 0;
    },
    bytes: () => bytes.young + bytes.old,
  };
}

/** Where the leading `id` ends; 0: there is none, or none that can be passed over without reading it. */
function endOfId(bytes: Buffer): number {
  const end = 2 + (bytes[1] ?? 0);
  if (bytes[0] !== ID_TAG || end > bytes.length || end > 0x80) return 0;
  for (let at = 2; at < end; at++) if ((bytes[at] ?? 0x80) >= 0x80) return 0;
  return end;
}
