/** What writes and lists print. Everything that comes from the server is made harmless for a terminal here. */
import { columns } from './columns.ts';
import { drawFacts, type Facts } from './changed-facts.ts';
import { paint, print, visible, type Format } from './output.ts';

export interface Grant {
  readonly principal: string;
  readonly path: string;
  readonly actions: readonly string[];
  readonly grantor: string;
  readonly grant_option: boolean;
  readonly grant_options: readonly string[];
}

export interface Owner {
  readonly path: string;
  readonly owner: string;
  readonly grantor: string;
}

interface WriteResult extends Facts {
  readonly dry_run: boolean;
  readonly repeated: boolean;
  readonly changes: readonly { change: string; kind: string; id: string }[];
  readonly revoked_grants: readonly Grant[];
  readonly revoked_owners: readonly Owner[];
  readonly warnings: readonly string[];
}

/** What the answers of all writes have. */
export interface WriteAnswer {
  readonly revision: string;
  /** For `check --consistency-token`; `''`: it is not known any more. */
  readonly consistency_token: string;
  readonly result: WriteResult | null;
}

/** `what` was `done`: `user alice`, `created`; `also` is for people. */
export interface Said {
  readonly what: string;
  readonly done: string;
  readonly also?: string;
}

/** Prints what a write did, and warns on stderr. @param shown the answer as programs read it */
export function reportWrite(
  output: Format,
  answer: WriteAnswer,
  said: Said,
  shown: object = answer,
): void {
  warn(answer.result?.warnings ?? []);
  print(output, shown, () => drawWrite(answer, said));
}

/** Warnings of the server, on stderr whatever the format. */
export function warn(warnings: readonly string[]): void {
  for (const warning of warnings) process.stderr.write(`warning: ${visible(warning)}\n`);
}

/** The facts that changed, what was revoked, and one sentence with the revision. */
function drawWrite({ revision, result }: WriteAnswer, { what, done, also }: Said): string {
  const changes = result?.changes ?? [];
  const revoked = [
    ...fallen(result?.revoked_grants ?? [], drawGrants),
    ...fallen(result?.revoked_owners ?? [], drawOwners),
  ];
  const planned = result?.dry_run === true;
  const verb = planned
    ? `would be ${done}`
    : result?.repeated === true
      ? `was ${done} before, under the same idempotency key`
      : done;
  const notes = [
    `revision ${revision}`,
    ...(planned ? ['dry run'] : []),
    ...(changes.length === 0 && result?.repeated !== true ? ['nothing changes'] : []),
  ];
  return [
    ...(result === null ? [] : drawFacts(result)),
    ...(revoked.length === 0
      ? []
      : [`${planned ? 'would be revoked' : 'revoked'} by cascade:`, ...revoked]),
    `${visible(`${what} ${verb}`)}${also === undefined ? '' : `: ${also}`} ${paint('dim', `(${notes.join(', ')})`)}`,
  ].join('\n');
}

function fallen<T>(items: readonly T[], draw: (items: readonly T[]) => string): string[] {
  return items.length === 0 ? [] : [draw(items)];
}

export function drawGrants(grants: readonly Grant[]): string {
  return listing(
    ['PRINCIPAL', 'PATH', 'ACTIONS', 'GRANTOR', 'GRANT OPTION'],
    grants.map(({ principal, path, actions, grantor, grant_option, grant_options }) => [
      principal,
      showPath(path),
      actions.join(' '),
      grantorName(grantor),
      grant_option ? yes(true) : grant_options.join(' '),
    ]),
    'no grants',
  );
}

export function drawOwners(owners: readonly Owner[]): string {
  return listing(
    ['PATH', 'OWNER', 'GRANTOR'],
    owners.map(({ path, owner, grantor }) => [showPath(path), owner, grantorName(grantor)]),
    'no owners',
  );
}

/** As `--grantor` takes it. */
export function grantorName(grantor: string): string {
  return grantor === '' ? 'operator' : grantor;
}

/** A table of texts from the server, or a sentence where there is nothing. */
export function listing(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  empty: string,
): string {
  return rows.length === 0 ? empty : columns([heads(head), ...rows.map((row) => row.map(visible))]);
}

/**
 * A table and an empty line after it; nothing where it has no rows.
 * @param others how many requests it does not list, and what sets them apart
 */
export function section(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  others: { readonly requests: number } | undefined,
  apart: string,
): string[] {
  if (rows.length === 0) return [];
  const rest = others === undefined ? [] : [`… and ${others.requests} ${apart}`];
  return [listing(head, rows, ''), ...rest, ''];
}

function heads(names: readonly string[]): string[] {
  return names.map((name) => paint('bold', name));
}

/** One thing's properties; those that are empty are left out. */
export function properties(rows: readonly (readonly [name: string, value: string])[]): string {
  const shown = rows.filter(([, value]) => value !== '');
  const width = Math.max(0, ...shown.map(([name]) => name.length));
  return shown
    .map(([name, value]) => `${paint('bold', name.padEnd(width))}  ${visible(value)}`)
    .join('\n');
}

function showPath(path: string): string {
  return path === '' ? '(root)' : path;
}

export function yes(value: boolean): string {
  return value ? 'yes' : '';
}

/** Prints a write whose answer has a credential: it stands alone on the last line, once. */
export function reportSecret(
  output: Format,
  answer: WriteAnswer,
  secret: string,
  said: Said,
  name: string,
): void {
  reportWrite(output, answer, said);
  if (secret !== '') {
    if (output === 'table') process.stdout.write(`${visible(secret)}\n`);
    process.stderr.write(
      `note: the ${name} cannot be shown again: keep it where secrets are kept\n`,
    );
  } else if (answer.result?.repeated === true) {
    process.stderr.write(
      `note: the ${name} was shown when this was done and cannot be shown again\n`,
    );
  }
}
