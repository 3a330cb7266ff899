/** `postern check`: one decision from a running server, explained on request. */
import { toSubject } from '../../config/policy-test.ts';
import { toValue } from '../../util/proto-value.ts';
import {
  parseAttributes,
  parseSourceArgument,
  type AttributeArguments,
} from '../kit/attributes.ts';
import {
  NoAnswer,
  type CheckResponse,
  type DecisionClient,
  type ExplainResponse,
} from '../kit/client.ts';
import { readText } from '../kit/arguments.ts';
import { isOwnToken, isSessionToken } from '../../identity/token.ts';
import { decidedBy } from '../kit/decided-by.ts';
import { openAsked, type WhomOptions } from '../offline/whom.ts';
import { CliError, EXIT, paint, print, visible, type Format } from '../kit/output.ts';

export interface CheckOptions extends WhomOptions {
  readonly output: Format;
  readonly resource?: string;
  readonly attr: readonly string[];
  readonly source: readonly string[];
  readonly key?: string;
  /** File with what proves who acts, in the place of a subject and a key; `-`: standard input. */
  readonly credentialFile?: string;
  readonly minRevision?: string;
  readonly consistencyToken?: string;
  readonly explain?: boolean;
}

/** Exit code 0: allowed, 1: denied. */
export async function check(
  subject: string,
  action: string,
  path: string | undefined,
  options: CheckOptions,
): Promise<number> {
  const { client, tenant } = await openAsked(options);
  const request = {
    tenant,
    ...(subject === '-' ? {} : { subject: toSubject(subject) }),
    ...(options.key === undefined ? {} : { key_id: options.key }),
    ...credentialOf(options),
    action,
    resource: {
      ...typeAndId(options.resource),
      ...(path === undefined ? {} : { path }),
      attributes: toProto(parseAttributes(options.attr)),
      sources: options.source.map((text) => ({ attributes: toProto(parseSourceArgument(text)) })),
    },
    ...(options.minRevision === undefined ? {} : { min_revision: revision(options.minRevision) }),
    ...(options.consistencyToken === undefined
      ? {}
      : { consistency_token: options.consistencyToken }),
  };
  try {
    if (options.explain === true) {
      const explained = await client.explain(request);
      print(options.output, explained, () => drawExplanation(explained));
      return exitCode(explained.check);
    }
    const explained = await explainedBy(client, request);
    const answer = explained?.check ?? (await client.check(request));
    const by = explained === undefined ? undefined : decidedBy(explained);
    const problem = explained?.credential_problem ?? '';
    const shown = {
      ...answer,
      // Absent: Explain gave no answer, and nothing is known of it.
      ...(by === undefined
        ? {}
        : { by: by.map(({ kind, text, chain }) => ({ kind, text, chain })) }),
      ...(problem === '' ? {} : { credential_problem: problem }),
    };
    print(options.output, shown, () =>
      [
        drawAnswer(answer).replace(EXPLAIN_HINT, CLI_HINT),
        ...(problem === '' ? [] : [paint('dim', `  └ the credential: ${visible(problem)}`)]),
        ...(by ?? []).map(({ text, chain }) => {
          const way = chain.length > 1 ? `  [${chain.join(' → ')}]` : '';
          return paint('dim', `  └ ${visible(`${text}${way}`)}`);
        }),
      ].join('\n'),
    );
    await hintAction(answer, action, options.packageRoot);
    return exitCode(answer);
  } finally {
    client.close();
  }
}

/**
 * The credential of a file, by what it looks like. It is never an argument: those are seen by everybody on the machine.
 * @throws CliError
 */
function credentialOf({ credentialFile: file, key }: CheckOptions): object {
  if (file === undefined) return {};
  if (key !== undefined)
    throw new CliError('--credential-file and --key: a credential says which key it is: give one');
  const text = readText('--credential-file', file).trim();
  if (text === '')
    throw new CliError(`--credential-file: \`${file}\` is empty: write the token into it`);
  const own = isSessionToken(text) ? 'session_token' : 'api_key';
  const form = isOwnToken(text) ? own : 'bearer_token';
  return { credential: { [form]: text } };
}

/** Of a name that no catalog has, the near one of this machine's, on stderr. */
async function hintAction(
  { reason }: CheckResponse,
  action: string,
  packageRoot: string,
): Promise<void> {
  if (reason !== 'REASON_UNKNOWN_ACTION') return;
  const { actionHint } = await import('../kit/action-hint.ts');
  const hint = actionHint(action, packageRoot);
  if (hint !== '') process.stderr.write(`note: \`${visible(action)}\`: ${hint}\n`);
}

/** Explain has more to do, and may be kept from some callers: where it gives no answer, Check does. */
const WITHOUT_EXPLAIN = new Set([
  'DEADLINE_EXCEEDED',
  'INTERNAL',
  'PERMISSION_DENIED',
  'UNIMPLEMENTED',
]);

/** The decision with its evidence, in one call; `undefined`: it is to be had without. */
async function explainedBy(
  client: DecisionClient,
  request: object,
): Promise<ExplainResponse | undefined> {
  try {
    return await client.explain(request);
  } catch (error) {
    if (error instanceof NoAnswer && WITHOUT_EXPLAIN.has(error.status)) return undefined;
    throw error;
  }
}

/** What the server says of its own call, as this command has it. */
const EXPLAIN_HINT = 'use Explain to see what is missing';
const CLI_HINT = 'use `--explain` to see what is missing';

function exitCode({ allowed }: CheckResponse): number {
  return allowed ? EXIT.ok : EXIT.refused;
}

function revision(text: string): string {
  if (!/^\d{1,16}$/.test(text)) throw new CliError(`--min-revision: \`${text}\` is not a number`);
  return text;
}

/** `type/id`, where the id may hold slashes. */
function typeAndId(resource: string | undefined): { type?: string; id?: string } {
  if (resource === undefined) return {};
  const slash = resource.indexOf('/');
  return slash < 0
    ? { type: resource }
    : { type: resource.slice(0, slash), id: resource.slice(slash + 1) };
}

function toProto(attributes: AttributeArguments): object {
  return Object.fromEntries([...attributes].map(([key, value]) => [key, toValue(value)]));
}

/** Of facts that are in no store. A tenant that has been written has one. */
const NO_REVISION = '0';

function drawAnswer(answer: CheckResponse): string {
  const { allowed, reason, detail, shadow, revision: at } = answer;
  const word = allowed
    ? paint('green', 'allowed')
    : `${paint('red', 'denied')} ${reason.replace('REASON_', '')}`;
  const lines = [
    `${word}: ${visible(detail)} ${paint('dim', at === NO_REVISION ? '(offline)' : `(revision ${at})`)}`,
  ];
  if (shadow !== null)
    lines.push(
      shadow.differs
        ? paint('yellow', `under full enforcement: ${shadow.allowed ? 'allowed' : 'denied'}`)
        : paint('dim', 'under full enforcement: the same'),
    );
  return lines.join('\n');
}

const MARKS: Readonly<Record<string, () => string>> = {
  VERDICT_ALLOW: () => paint('green', '✓'),
  VERDICT_DENY: () => paint('red', '✗'),
  VERDICT_SILENT: () => paint('dim', '·'),
};

function drawExplanation({
  check,
  layers,
  missing,
  missing_complete,
  credential_problem: problem,
}: ExplainResponse): string {
  const width = Math.max(0, ...layers.map(({ name }) => name.length));
  const lines = [drawAnswer(check), ''];
  if (problem !== '') lines.push(`the credential: ${visible(problem)}`);
  for (const { name, verdict, summary, facts } of layers) {
    lines.push(`${MARKS[verdict]?.() ?? '?'} ${name.padEnd(width)}  ${visible(summary)}`);
    for (const { text, chain } of facts) {
      const way = chain.length > 1 ? paint('dim', `  [${chain.join(' → ')}]`) : '';
      lines.push(`  ${' '.repeat(width)}  └ ${visible(text)}${visible(way)}`);
    }
  }
  if (missing.length > 0) {
    lines.push('', 'Any one of these would have allowed it:');
    for (const { text } of missing) lines.push(`  + ${visible(text)}`);
    if (!missing_complete) lines.push('  (time was over before all groups and rules were tried)');
  } else if (!check.allowed)
    lines.push(
      '',
      missing_complete
        ? 'No single fact would have allowed it.'
        : 'No single fact was found that would have allowed it, and not all were tried: time was over.',
    );
  return lines.join('\n');
}
