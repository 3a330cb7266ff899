/** Audit records as people read them: a line each, and nothing in it that a terminal obeys. */
import { stringify } from 'yaml';
import { isObject, type AuditRecord } from '../../audit/record/line.ts';
import { paint, visible, type Format } from '../kit/output.ts';

/** More of one value is told by its length: a megabyte on a line helps nobody. `-o json` has it whole. */
const MAX_SHOWN = 200;
/** Changed facts that are named. */
const MAX_NAMED = 3;
/** Columns, so that lines stand below each other as far as they can. */
const WIDTHS = [24, 7, 12, 20, 20, 24];

export const HEADING = paint(
  'bold',
  aligned(['TIME', 'ANSWER', 'TENANT', 'WHO', 'ACTION', 'RESOURCE', 'WHY']),
);

/** A record in a format: a line, a line of JSON, or a YAML document. */
export function shown(format: Format, record: AuditRecord, text: string): string {
  if (format === 'table') return lineOf(record);
  // Only the texts of a JSON object hold such characters, white space aside, and their escapes mean the same there.
  const json = visible(/[\t\r]/.test(text) ? JSON.stringify(record) : text);
  return format === 'json' ? json : `---\n${yamlOf(record, json)}`;
}

/** In double quotes, where a text needs escapes, they mean the same as in JSON. */
function yamlOf(record: AuditRecord, json: string): string {
  if (!json.includes('\\')) return stringify(record).trimEnd();
  const quoted = stringify(record, {
    defaultStringType: 'QUOTE_DOUBLE',
    defaultKeyType: 'QUOTE_DOUBLE',
    lineWidth: 0,
  });
  return quoted.trimEnd().split('\n').map(visible).join('\n');
}

/** A line that is no record, so that nothing goes by unseen. */
export function strangeLine(text: string): string {
  return paint('yellow', `not a record: ${said(text)}`);
}

function lineOf(record: AuditRecord): string {
  const { time, allowed, tenant } = record;
  const answer = allowed === true ? 'allowed' : 'denied';
  const cells = [
    time,
    answer,
    tenant,
    whoOf(record),
    actionOf(record),
    whatOf(record),
    whyOf(record),
  ];
  const line = aligned(cells.map(said));
  // The answer is coloured where it stands, so that colours take no room.
  const at = line.indexOf(answer, said(time).length);
  const colour = paint(allowed === true ? 'green' : 'red', answer);
  return `${line.slice(0, at)}${colour}${line.slice(at + answer.length)}${shadowOf(record)}`;
}

function aligned(cells: readonly string[]): string {
  return cells
    .map((cell, at) => cell.padEnd(WIDTHS[at] ?? 0))
    .join('  ')
    .trimEnd();
}

function whoOf({ subject, actor, key_id: key }: AuditRecord): string {
  const who = textOf(subject ?? actor);
  return [who, key === undefined ? '' : `key ${textOf(key)}`].filter(Boolean).join(' ');
}

function actionOf({ action, operation, type, dry_run: dryRun }: AuditRecord): string {
  const name = action ?? operation ?? type;
  return dryRun === true ? `${textOf(name)} (dry run)` : textOf(name);
}

function whatOf({ resource, objects, after }: AuditRecord): string {
  const parts: string[] = [];
  if (isObject(resource)) {
    const { type, id, path } = resource;
    parts.push(
      [type, id]
        .filter((part) => part !== undefined)
        .map(textOf)
        .join('/'),
    );
    if (path !== undefined) parts.push(path === '' ? '(root)' : textOf(path));
  } else parts.push(textOf(resource));
  if (isObject(objects))
    parts.push(`${textOf(objects['visible'])} of ${textOf(objects['total'])} objects`);
  if (Array.isArray(after)) parts.push(changedOf(after));
  return parts.filter((part) => part !== '').join(' ');
}

function changedOf(facts: readonly unknown[]): string {
  const names = facts
    .slice(0, MAX_NAMED)
    .map((one) => (isObject(one) ? `${textOf(one['kind'])}:${textOf(one['id'])}` : textOf(one)));
  const more = facts.length - names.length;
  return [...names, ...(more > 0 ? [`and ${more} more`] : [])].join(' ');
}

function whyOf({ reason, policy, rule, detail }: AuditRecord): string {
  const rules = Array.isArray(policy) ? policy.map(textOf).join(' ') : textOf(rule);
  return [reason, rules, detail].map(textOf).filter(Boolean).join(' ');
}

function shadowOf({ shadow, objects }: AuditRecord): string {
  const notes: string[] = [];
  if (isObject(shadow) && shadow['differs'] === true)
    notes.push(`would be ${shadow['allowed'] === true ? 'allowed' : 'denied'}`);
  if (isObject(objects))
    for (const [field, word] of [
      ['shadow_hidden', 'hidden'],
      ['shadow_shown', 'shown'],
    ] as const)
      if (typeof objects[field] === 'number' && objects[field] > 0)
        notes.push(`${objects[field]} would be ${word}`);
  return notes.length === 0 ? '' : paint('yellow', `  under enforcement: ${notes.join(', ')}`);
}

/** Whatever stands there, as text. */
function textOf(value: unknown): string {
  if (value === undefined) return '';
  return typeof value === 'string' ? value : JSON.stringify(value);
}

/** Safe for a terminal, and not longer than a line bears. */
function said(value: unknown): string {
  const text = textOf(value);
  const cut = text.length - MAX_SHOWN;
  return cut > 0 ? `${visible(text.slice(0, MAX_SHOWN))}…(${cut} more)` : visible(text);
}
