/** `postern policy-set`: named, versioned rules that keys are held to, written as files. */
import { Option, type Command } from 'commander';
import { MODES } from '../../engine/model.ts';
import { yamlText } from '../../config/yaml-text.ts';
import { ConfigError, formatProblem, type Problem } from '../../config/problem.ts';
import { fromList } from '../../util/proto-value.ts';
import { AdminError, listAll, type Admin } from '../kit/admin-client.ts';
import { given, parseUint64, readText } from '../kit/arguments.ts';
import { diffLines } from '../kit/diff.ts';
import { CliError, EXIT, paint, print, visible } from '../kit/output.ts';
import { listing, reportWrite, type WriteAnswer } from '../kit/results.ts';
import { reading, within } from '../audit/log-options.ts';
import type { ReportOptions } from '../audit/rollout.ts';
import {
  limitOption,
  parseLimit,
  runner,
  writeOptions,
  writing,
  type LimitFlag,
  type WriteFlags,
} from '../kit/verb.ts';

interface Rule {
  readonly id: string;
  readonly effect: string;
  readonly actions: readonly string[];
  readonly attributes: Readonly<Record<string, unknown>>;
  readonly description: string;
}

interface PolicySet {
  readonly name: string;
  readonly description: string;
  readonly mode: string;
  readonly version: string;
  readonly rules: readonly Rule[];
}

interface PutAnswer extends WriteAnswer {
  readonly policy_set: PolicySet | null;
}

interface GetAnswer {
  readonly revision: string;
  readonly policy_set: PolicySet | null;
  readonly keys: readonly string[];
  readonly versions: readonly string[];
}

interface ValidateAnswer {
  readonly revision: string;
  readonly problems: readonly (Omit<Problem, 'file' | 'severity'> & { severity: string })[];
}

interface FileFlag {
  readonly file: string;
}

/** Adds the verbs of `postern policy-set`. */
export function policySetVerbs(noun: Command, packageRoot: string): void {
  const run = runner(packageRoot);
  const fromFile = (verb: string, description: string): Command =>
    noun
      .command(verb)
      .description(description)
      .requiredOption('-f, --file <file>', 'the policy set file; - reads standard input');
  const named = (verb: string, description: string): Command =>
    noun.command(verb).description(description).argument('<name>', 'its name');

  writing(fromFile('create', 'create a policy set'))
    .addHelpText(
      'after',
      `
Example, tenant-acme.yaml:
  policy_set:
    name: tenant-acme
    mode: enforce
    rules:
      - { id: read-acme, effect: allow, actions: [graph.search], attributes: { tenant: [acme] } }

  postern policy-set create -f tenant-acme.yaml`,
    )
    .action(run((admin, options: WriteFlags & FileFlag) => put(admin, options, 'created')));

  writing(fromFile('update', 'add a version to a policy set, which is then in force'))
    .addHelpText(
      'after',
      `
Example:
  postern policy-set get tenant-acme > tenant-acme.yaml
  postern policy-set update -f tenant-acme.yaml --dry-run`,
    )
    .action(run((admin, options: WriteFlags & FileFlag) => put(admin, options, 'updated')));

  writing(
    named('set', 'change what is given; its rules stay')
      .addOption(new Option('--mode <mode>', 'whether its rules are enforced').choices(MODES))
      .option('--description <text>', 'a description'),
  )
    .addHelpText('after', '\nExample:\n  postern policy-set set tenant-acme --mode enforce')
    .action(run(set));

  fromFile('validate', 'validate a policy set like the server, store nothing').action(
    run(validate),
  );

  named('get', 'print a policy set as a file for update')
    .option('--version <n>', 'this version (default: the one in force)')
    .action(run(get));

  noun.command('list').description('list policy sets').addOption(limitOption()).action(run(list));

  named('diff', 'print the changes from one version to another')
    .requiredOption('--from <n>', 'the old version')
    .option('--to <n>', 'the new version (default: the one in force)')
    .action(run(diff));

  reading(
    within(
      named('report', 'print what enforcing a set would change, from recorded decisions').option(
        '--state <file>',
        'a state file with the keys that have the set; the catalog is that of --config',
      ),
    ),
  )
    .addHelpText(
      'after',
      `
The keys with the set come from --state, otherwise from the server (if there is a token), otherwise from the log.
Decisions from before the last recorded change of the set or the key are ignored.

Exit codes: 0 no recorded request would change, 1 some would, 2 usage, or not enough evidence.

Example:
  postern policy-set report tenant-acme --tenant acme --file audit.jsonl --from 2030-01-01T00:00:00Z`,
    )
    .action(async (name: string, _own: object, self: Command) => {
      const { reportCommand } = await import('../audit/rollout.ts');
      const options = self.optsWithGlobals<ReportOptions>();
      process.exitCode = await reportCommand({ ...options, packageRoot }, name);
    });

  writing(named('delete', 'delete a policy set and its history, detach it from all keys')).action(
    run(remove),
  );
}

async function put(
  admin: Admin,
  options: WriteFlags & FileFlag,
  done: 'created' | 'updated',
): Promise<number> {
  const document = readText('--file', options.file);
  try {
    const answer = await admin.call<PutAnswer>('PutPolicySet', {
      options: writeOptions(options),
      document,
      ...(done === 'created' ? { must_not_exist: true } : { must_exist: true }),
    });
    const { policy_set: set } = answer;
    const what = set === null ? 'policy set' : `policy set ${set.name} version ${set.version}`;
    reportWrite(admin.output, answer, { what, done }, shown(answer));
    return EXIT.ok;
  } catch (error) {
    if (!(error instanceof AdminError) || error.status !== 'INVALID_ARGUMENT') throw error;
    // The refusal is about the document more often than not: then its places are what helps.
    const problems = await problemsOf(admin, options.file, document);
    if (problems.problems.every(({ severity }) => severity === 'warning')) throw error;
    throw new ConfigError(problems.problems);
  }
}

async function set(
  admin: Admin,
  options: WriteFlags & { mode?: string; description?: string },
  name: string,
): Promise<number> {
  const changes = given({ mode: options.mode, description: options.description });
  if (Object.keys(changes).length === 0)
    throw new CliError('nothing to change: give --mode or --description');
  const answer = await admin.call<PutAnswer>('UpdatePolicySet', {
    options: writeOptions(options),
    name,
    ...changes,
  });
  const { policy_set: stored } = answer;
  const what = `policy set ${name}${stored === null ? '' : ` version ${stored.version}`}`;
  reportWrite(admin.output, answer, { what, done: 'updated' }, shown(answer));
  return EXIT.ok;
}

async function validate(admin: Admin, options: FileFlag): Promise<number> {
  const { revision, problems } = await problemsOf(
    admin,
    options.file,
    readText('--file', options.file),
  );
  const errors = problems.filter(({ severity }) => severity === 'error').length;
  print(admin.output, { revision, errors, problems }, () =>
    [
      ...problems.map(formatProblem),
      ...(errors === 0 ? [`${paint('green', 'ok')} ${options.file} (policy-set)`] : []),
      `1 file(s), ${errors} error(s), ${problems.length - errors} warning(s)`,
    ].join('\n'),
  );
  return errors === 0 ? EXIT.ok : EXIT.refused;
}

async function problemsOf(
  admin: Admin,
  file: string,
  document: string,
): Promise<{ revision: string; problems: Problem[] }> {
  const answer = await admin.call<ValidateAnswer>('ValidatePolicySet', { document });
  return {
    revision: answer.revision,
    problems: answer.problems.map(({ severity, line, column, path, message }) => ({
      file: file === '-' ? 'standard input' : file,
      line,
      column,
      path: visible(path),
      message: visible(message),
      severity: severity === 'warning' ? 'warning' : 'error',
    })),
  };
}

async function get(admin: Admin, options: { version?: string }, name: string): Promise<number> {
  const answer = await read(admin, name, options.version, '--version');
  const { policy_set: set, keys, versions, revision } = answer;
  if (admin.output === 'json' || set === null) print('json', shown(answer), () => '');
  else {
    // YAML is the form of the file, so that it is the file that is printed.
    const first = versions[0] ?? set.version;
    const attached = keys.length === 0 ? 'no key' : keys.join(', ');
    const head = `version ${set.version} (kept from ${first} on) at revision ${revision}, attached to ${attached}`;
    process.stdout.write(`# ${visible(head)}\n${toFile(set)}`);
  }
  return EXIT.ok;
}

async function diff(
  admin: Admin,
  options: { from: string; to?: string },
  name: string,
): Promise<number> {
  const before = await read(admin, name, options.from, '--from');
  const after = await read(admin, name, options.to, '--to');
  const textOf = ({ policy_set: set }: GetAnswer): string => (set === null ? '' : toFile(set));
  const lines = diffLines(textOf(before).split('\n'), textOf(after).split('\n'));
  const shownDiff = {
    revision: after.revision,
    from: before.policy_set && setOf(before.policy_set),
    to: after.policy_set && setOf(after.policy_set),
  };
  const COLOURS = { '+': 'green', '-': 'red', ' ': 'dim' } as const;
  print(admin.output, shownDiff, () =>
    lines.every(({ mark }) => mark === ' ')
      ? 'no difference'
      : lines
          .filter(({ text }) => text !== '')
          .map(({ mark, text }) => paint(COLOURS[mark], `${mark} ${visible(text)}`))
          .join('\n'),
  );
  return EXIT.ok;
}

function read(
  admin: Admin,
  name: string,
  version: string | undefined,
  option: string,
): Promise<GetAnswer> {
  const number = version === undefined ? undefined : parseUint64(option, version);
  return admin.call<GetAnswer>('GetPolicySet', { name, ...given({ version: number }) });
}

async function list(admin: Admin, options: LimitFlag): Promise<number> {
  const { items, answer } = await listAll<PolicySet>(
    admin.call,
    'ListPolicySets',
    {},
    'policy_sets',
    parseLimit(options),
  );
  print(admin.output, { ...answer, policy_sets: items.map(setOf) }, () =>
    listing(
      ['NAME', 'VERSION', 'MODE', 'RULES', 'DESCRIPTION'],
      items.map(({ name, version, mode, rules, description }) => [
        name,
        version,
        mode,
        String(rules.length),
        description,
      ]),
      'no policy sets',
    ),
  );
  return EXIT.ok;
}

async function remove(admin: Admin, options: WriteFlags, name: string): Promise<number> {
  const answer = await admin.call<WriteAnswer>('DeletePolicySet', {
    options: writeOptions(options),
    name,
  });
  reportWrite(admin.output, answer, { what: `policy set ${name}`, done: 'deleted' });
  return EXIT.ok;
}

function shown(answer: PutAnswer | GetAnswer): object {
  const { policy_set: set } = answer;
  return { ...answer, policy_set: set === null ? null : setOf(set) };
}

/** With attributes as JSON instead of messages. */
function setOf(set: PolicySet): PolicySet {
  return { ...set, rules: set.rules.map(ruleOf) };
}

function ruleOf(rule: Rule): Rule {
  const attributes = Object.entries(rule.attributes);
  // From entries, so that `__proto__` stays an ordinary key.
  return {
    ...rule,
    attributes: Object.fromEntries(attributes.map(([key, list]) => [key, fromList(list)])),
  };
}

/** The set as the file that `update` takes. */
function toFile(set: PolicySet): string {
  const { name, description, mode } = set;
  return yamlText({
    policy_set: {
      name,
      ...(description === '' ? {} : { description }),
      mode,
      rules: set.rules
        .map(ruleOf)
        .map(({ id, description: what, effect, actions, attributes }) => ({
          id,
          ...(what === '' ? {} : { description: what }),
          effect,
          actions,
          ...(Object.keys(attributes).length === 0 ? {} : { attributes }),
        })),
    },
  });
}
