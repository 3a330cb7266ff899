/** `postern user batch`: many users from a file, a thousand a commit. */
import { USER_TYPES } from '../../engine/model.ts';
import * as z from 'zod';
import { id } from '../../config/common.ts';
import { endOf, parseAs, parseSource } from '../../config/document.ts';
import type { Source } from '../../config/source.ts';
import { toStruct } from '../../util/proto-value.ts';
import type { Admin } from '../kit/admin-client.ts';
import { given, readText } from '../kit/arguments.ts';
import { CliError, EXIT, paint, print, visible } from '../kit/output.ts';
import { warn, type WriteAnswer } from '../kit/results.ts';
import { writeOptions, type WriteFlags } from '../kit/verb.ts';

const user = z.strictObject({
  id,
  type: z.enum(USER_TYPES).optional(),
  external_id: z.string().optional(),
  email: z.string().optional(),
  metadata: z.record(z.string(), z.unknown()).optional(),
  superuser: z.boolean().optional(),
  createrole: z.boolean().optional(),
  no_login: z.boolean().optional(),
});
const list = z.array(user);
const file = z.strictObject({ users: list });

type UserEntry = z.infer<typeof user>;

interface BatchAnswer extends WriteAnswer {
  readonly items: readonly { readonly error: string; readonly rule: string }[];
}

/** What became of one user of the file. */
interface Outcome {
  readonly id: string;
  readonly created: boolean;
  readonly error: string;
  readonly rule: string;
}

/** What the server takes at once. */
const GROUP = 1_000;
/** Characters of a group's users as JSON: well below the largest message that a server reads. */
const GROUP_LENGTH = 1_000_000;

/** Exit code 1: at least one was refused. */
export async function createUsers(
  admin: Admin,
  options: WriteFlags & { readonly file: string },
): Promise<number> {
  const users = readUsers(options.file);
  const outcomes: Outcome[] = [];
  let { expectedRevision } = options;
  let revision = '';
  let consistency_token = '';
  for (const [index, group] of groups(users).entries()) {
    showProgress(outcomes.length, users.length);
    const answer = await send(admin, group, outcomes.length, {
      ...options,
      ...given({
        expectedRevision,
        // One key stands for one commit.
        idempotencyKey:
          options.idempotencyKey === undefined ? undefined : `${options.idempotencyKey}/${index}`,
      }),
    });
    ({ revision, consistency_token } = answer);
    // Nobody else's commit may come between, either.
    if (expectedRevision !== undefined) expectedRevision = revision;
    warn(answer.result?.warnings ?? []);
    const told = group.map((entry, at) => outcomeOf(entry, answer, at));
    outcomes.push(...told);
    clearProgress();
    if (admin.output === 'table') process.stdout.write(told.map(draw).join(''));
  }
  const refused = outcomes.filter(({ created }) => !created).length;
  const isDryRun = options.dryRun === true;
  const counts = { created: outcomes.length - refused, refused };
  print(
    admin.output,
    { revision, consistency_token, dry_run: isDryRun, ...counts, items: outcomes },
    () =>
      `${counts.created} user(s) ${isDryRun ? 'would be ' : ''}created, ${refused} refused (revision ${revision})`,
  );
  return refused === 0 ? EXIT.ok : EXIT.refused;
}

async function send(
  admin: Admin,
  group: readonly UserEntry[],
  done: number,
  options: WriteFlags,
): Promise<BatchAnswer> {
  try {
    return await admin.call<BatchAnswer>('BatchCreateUsers', {
      options: writeOptions(options),
      users: group.map((entry) => ({
        ...entry,
        ...given({ metadata: entry.metadata && toStruct(entry.metadata) }),
      })),
    });
  } catch (error) {
    clearProgress();
    if (done === 0 || !(error instanceof CliError)) throw error;
    throw new CliError(
      `${error.message}; the first ${done} users of the file were dealt with before: run it again for the others`,
      error.code,
    );
  }
}

function outcomeOf(entry: UserEntry, { items }: BatchAnswer, at: number): Outcome {
  const { error = 'the server returned no result for it', rule = '' } = items[at] ?? {};
  return { id: entry.id, created: error === '', error, rule };
}

function draw({ id: name, created, error, rule }: Outcome): string {
  if (created) return `${paint('green', '+')} ${visible(name)}\n`;
  const why = `${error}${rule === '' || error.includes(rule) ? '' : ` (${rule})`}`;
  return `${paint('red', '✗')} ${visible(`${name}: ${why}`)}\n`;
}

function groups(users: readonly UserEntry[]): UserEntry[][] {
  const made: UserEntry[][] = [];
  let length = Number.POSITIVE_INFINITY;
  for (const entry of users) {
    const last = made.at(-1);
    const own = JSON.stringify(entry).length;
    if (last === undefined || last.length === GROUP || length + own > GROUP_LENGTH) {
      made.push([entry]);
      length = own;
    } else {
      last.push(entry);
      length += own;
    }
  }
  return made;
}

/** A list, or an object that has one as `users`. @throws ConfigError, CliError */
function readUsers(name: string): readonly UserEntry[] {
  const source = readFast(name, readText('--file', name));
  const users = Array.isArray(source.value) ? parseAs(source, list) : parseAs(source, file).users;
  if (users.length === 0) throw new CliError(`--file: \`${name}\` has no users`);
  return users;
}

/** JSON is read a hundred times as fast as YAML; places in it are looked for only where something is wrong. */
function readFast(name: string, text: string): Source {
  const slow = (): Source => parseSource(name, text);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return slow();
  }
  let placed: Source | undefined;
  return {
    file: name,
    value,
    ...endOf(text),
    problem: (...args) => (placed ??= slow()).problem(...args),
  };
}

function showProgress(done: number, total: number): void {
  if (process.stderr.isTTY) process.stderr.write(`\r${done} of ${total} users`);
}

function clearProgress(): void {
  if (process.stderr.isTTY) process.stderr.write('\r\u001b[K');
}
