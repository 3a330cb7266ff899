/** `postern filter` and `postern check --batch`: many objects or questions of a file, in one call. */
import { toSubject } from '../../config/policy-test.ts';
import { decodeSource } from '../../config/document.ts';
import { toValue } from '../../util/proto-value.ts';
import { columns } from '../kit/columns.ts';
import type { FilterResponse } from '../kit/client.ts';
import { openAsked, type WhomOptions } from '../offline/whom.ts';
import { readState } from '../state/state-input.ts';
import { CliError, EXIT, paint, print, visible, type Format } from '../kit/output.ts';

export interface ManyOptions extends WhomOptions {
  readonly output: Format;
  /** The file; `-`: standard input. */
  readonly file: string;
  readonly key?: string;
}

/** Exit code 0: the action is allowed as such, 1: it is denied whatever the object. */
export async function filter(
  subject: string,
  action: string,
  options: ManyOptions & { readonly limit?: string; readonly offset?: string },
): Promise<number> {
  const objects = entriesOf(options.file, 'objects').map(toResource);
  const { client, tenant } = await openAsked(options);
  const request = {
    tenant,
    ...callerOf(subject, options),
    action,
    objects,
    limit: countOf('--limit', options.limit),
    offset: countOf('--offset', options.offset),
  };
  try {
    const answer = await client.filter(request);
    print(options.output, answer, () => drawFilter(answer));
    return answer.action_allowed ? EXIT.ok : EXIT.refused;
  } finally {
    client.close();
  }
}

/** Exit code 0: all are allowed, 1: one is denied or malformed. */
export async function batch(
  subject: string | undefined,
  action: string | undefined,
  options: ManyOptions,
): Promise<number> {
  const checks = entriesOf(options.file, 'checks').map(toCheck);
  const { client, tenant } = await openAsked(options);
  const request = {
    tenant,
    ...callerOf(subject ?? '-', options),
    ...(action === undefined ? {} : { action }),
    checks,
  };
  try {
    const answer = await client.batchCheck(request);
    print(options.output, answer, () =>
      columns([
        ['#', 'ID', 'ANSWER', 'WHY'].map((head) => paint('bold', head)),
        ...answer.results.map(({ id, allowed, reason, detail }, at) => [
          String(at),
          visible(id),
          allowed ? paint('green', 'allowed') : paint('red', reason.replace('REASON_', '')),
          visible(detail),
        ]),
      ]),
    );
    return answer.results.every(({ allowed }) => allowed) ? EXIT.ok : EXIT.refused;
  } finally {
    client.close();
  }
}

function callerOf(subject: string, { key }: ManyOptions): object {
  return {
    ...(subject === '-' ? {} : { subject: toSubject(subject) }),
    ...(key === undefined ? {} : { key_id: key }),
  };
}

function drawFilter(answer: FilterResponse): string {
  const { action_allowed, reason, allowed_indexes, allowed_ids, invalid, complete } = answer;
  const lines = action_allowed
    ? allowed_indexes.map((index, at) => {
        const id = allowed_ids[at] ?? '';
        return id === '' ? `objects[${index}]` : visible(id);
      })
    : [`${paint('red', 'denied')} ${reason.replace('REASON_', '')}: whatever the object`];
  for (const { problem } of invalid) lines.push(paint('yellow', `malformed: ${visible(problem)}`));
  if (!complete) lines.push(`more: --offset ${answer.next_offset}`);
  lines.push(paint('dim', `${allowed_indexes.length} visible (revision ${answer.revision})`));
  return lines.join('\n');
}

function countOf(name: string, text: string | undefined): number {
  if (text === undefined) return 0;
  if (!/^\d{1,9}$/.test(text)) throw new CliError(`${name}: \`${text}\` is not a number`);
  return Number(text);
}

// ── files ───────────────────────────────────────────────────────────────────────────────────────

/** A list, or a map with the list under the name of what it holds; YAML or JSON. */
function entriesOf(file: string, name: string): readonly Readonly<Record<string, unknown>>[] {
  const { name: shown, bytes } = readState(file);
  const { value } = decodeSource(shown, bytes);
  const list = isRecord(value) ? value[name] : value;
  if (!Array.isArray(list))
    throw new CliError(`\`${file}\` holds no list: give a list, or a map with \`${name}\``);
  return list.map((entry: unknown, at) => {
    if (isRecord(entry)) return entry;
    throw new CliError(`\`${file}\`: ${name}[${at}] is not a map`);
  });
}

const RESOURCE_FIELDS: ReadonlySet<string> = new Set([
  'type',
  'id',
  'path',
  'attributes',
  'sources',
]);
const CHECK_FIELDS: ReadonlySet<string> = new Set(['id', 'subject', 'key', 'action', 'resource']);

/** As it is written: what is wrong with one object is the server's to say, of that one (FILT-5). */
function toResource(entry: Readonly<Record<string, unknown>>, at: number): object {
  refuseUnknown(entry, RESOURCE_FIELDS, `objects[${at}]`);
  const { type, id, path, attributes, sources } = entry;
  return {
    ...textOf('type', type, at),
    ...textOf('id', id, at),
    ...textOf('path', path, at),
    ...(attributes === undefined ? {} : { attributes: valuesOf(attributes, at) }),
    ...(sources === undefined ? {} : { sources: sourcesOf(sources, at) }),
  };
}

function toCheck(entry: Readonly<Record<string, unknown>>, at: number): object {
  refuseUnknown(entry, CHECK_FIELDS, `checks[${at}]`);
  const { id, subject, key, action, resource } = entry;
  if (resource !== undefined && !isRecord(resource))
    throw new CliError(`checks[${at}].resource is not a map`);
  if (subject !== undefined && typeof subject !== 'string')
    throw new CliError(
      `checks[${at}].subject is not a string: write alice, user:alice or role:team`,
    );
  return {
    ...textOf('id', id, at),
    ...(subject === undefined ? {} : { subject: toSubject(subject) }),
    ...textOf('key_id', key, at),
    ...textOf('action', action, at),
    ...(resource === undefined ? {} : { resource: toResource(resource, at) }),
  };
}

function refuseUnknown(
  entry: Readonly<Record<string, unknown>>,
  fields: ReadonlySet<string>,
  where: string,
): void {
  for (const name of Object.keys(entry))
    if (!fields.has(name))
      throw new CliError(
        `${where}: \`${visible(name)}\` is not known: known are ${[...fields].join(', ')}`,
      );
}

function textOf(name: string, value: unknown, at: number): Readonly<Record<string, string>> {
  if (value === undefined) return {};
  if (typeof value === 'string') return { [name]: value };
  throw new CliError(`entry ${at}: \`${name}\` is not a string: put it in quotes`);
}

function valuesOf(map: unknown, at: number): object {
  if (!isRecord(map)) throw new CliError(`entry ${at}: \`attributes\` is not a map`);
  return Object.fromEntries(Object.entries(map).map(([key, value]) => [key, toValue(value)]));
}

function sourcesOf(list: unknown, at: number): object[] {
  if (!Array.isArray(list)) throw new CliError(`entry ${at}: \`sources\` is not a list`);
  return list.map((source: unknown) => {
    if (!isRecord(source)) throw new CliError(`entry ${at}: a source is not a map`);
    return { attributes: valuesOf(source['attributes'] ?? {}, at) };
  });
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
