/** Which records a reader wants to see. Pure. */
import { isObject, type AuditRecord } from '../record/line.ts';
import type { Range } from './log-source.ts';

/** All that is given must hold; `undefined`: anything does. */
export interface Filter {
  /** `''`: records that name none. */
  readonly tenant: string | undefined;
  readonly type: string | undefined;
  readonly api: string | undefined;
  readonly outcome: 'allowed' | 'denied' | undefined;
  readonly reason: string | undefined;
  readonly mode: string | undefined;
  readonly key: string | undefined;
  /** `user:alice`: who asked, or who changed something. */
  readonly subject: string | undefined;
  /** Of an action or an operation; `*` stands for any text. */
  readonly action: string | undefined;
  readonly requestId: string | undefined;
  readonly decisionId: string | undefined;
  /** Full enforcement would have answered otherwise; of a Filter, for one object or more. */
  readonly differs: boolean;
  readonly range: Range;
}

/** Compiles a filter to a test. */
export function matcherOf(filter: Filter): (record: AuditRecord) => boolean {
  const tests = [
    equal('tenant', filter.tenant),
    // Seals tell of no decision and no change: they are shown where they are asked for.
    filter.type === undefined ? noSeal : equal('type', filter.type),
    equal('api', filter.api),
    equal('reason', filter.reason),
    equal('mode', filter.mode),
    equal('key_id', filter.key),
    equal('request_id', filter.requestId),
    equal('decision_id', filter.decisionId),
    given(filter.outcome, (outcome, record) => record['allowed'] === (outcome === 'allowed')),
    given(
      filter.subject,
      (subject, record) => record['subject'] === subject || record['actor'] === subject,
    ),
    filter.action === undefined ? undefined : actsLike(globOf(filter.action)),
    filter.differs ? differs : undefined,
    withinOf(filter.range),
  ].filter((test) => test !== undefined);
  return (record) => tests.every((test) => test(record));
}

type Test = (record: AuditRecord) => boolean;

const noSeal: Test = ({ type }) => type !== 'seal';

function given<T>(
  wanted: T | undefined,
  test: (wanted: T, record: AuditRecord) => boolean,
): Test | undefined {
  return wanted === undefined ? undefined : (record) => test(wanted, record);
}

function equal(field: string, wanted: string | undefined): Test | undefined {
  return given(wanted, (value, record) => record[field] === value);
}

function actsLike(glob: (text: string) => boolean): Test {
  return ({ action, operation }) => {
    const name = action ?? operation;
    return typeof name === 'string' && glob(name);
  };
}

/** `graph.*`, `*:read`: stars stand for any text, all else for itself. No pattern can make it slow. */
function globOf(glob: string): (text: string) => boolean {
  const [first = '', ...others] = glob.split('*');
  const last = others.pop();
  if (last === undefined) return (text) => text === first;
  return (text) => {
    const end = text.length - last.length;
    if (end < first.length || !text.startsWith(first) || !text.endsWith(last)) return false;
    let at = first.length;
    for (const part of others) {
      const found = text.indexOf(part, at);
      if (found < 0 || found + part.length > end) return false;
      at = found + part.length;
    }
    return true;
  };
}

function differs({ shadow, objects }: AuditRecord): boolean {
  if (isObject(shadow) && shadow['differs'] === true) return true;
  return isObject(objects) && (isSome(objects['shadow_hidden']) || isSome(objects['shadow_shown']));
}

function isSome(count: unknown): boolean {
  return typeof count === 'number' && count > 0;
}

/** A time that cannot be read is in no range. */
function withinOf({ from = -Infinity, to = Infinity }: Range): Test | undefined {
  if (from === -Infinity && to === Infinity) return undefined;
  return ({ time }) => {
    const at = Date.parse(time);
    return at >= from && at < to;
  };
}
