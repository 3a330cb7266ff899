/** `postern policy-set report`: what enforcing a set would change, by recorded decisions. */
import { toFacts } from '../../admin/state/to-facts.ts';
import { fromDefaults } from '../../admin/state/tenant-facts.ts';
import { carriersOf, type Carrier, type Direction } from '../../audit/reports/impact.ts';
import { reportOn, type RolloutReport } from '../../audit/reports/policy-rollout.ts';
import type { Source } from '../../audit/logs/log-source.ts';
import type { Tally } from '../../audit/reports/tally.ts';
import { readSource } from '../../config/document.ts';
import { ConfigError } from '../../config/problem.ts';
import { parseState, refused } from '../../config/state.ts';
import type { Mode } from '../../engine/model.ts';
import {
  AdminError,
  hasToken,
  listAll,
  openAdmin,
  type AdminOptions,
} from '../kit/admin-client.ts';
import { namedLogs, rangeOf, sourceOf, type RangeFlags, type SourceFlags } from './log-options.ts';
import { loadConfiguration } from '../kit/configuration.ts';
import { CliError, EXIT, paint, print, visible } from '../kit/output.ts';
import { onBar, progressBar } from '../kit/progress.ts';
import { section } from '../kit/results.ts';

export interface ReportOptions extends AdminOptions, SourceFlags, RangeFlags {
  /** A state file that says which keys carry the set. */
  readonly state?: string;
}

/** The keys of a set, and where that is known from. */
interface Keys {
  readonly from: 'state' | 'server' | 'log';
  readonly tenant: string;
  /** `undefined`: only the log tells. */
  readonly carriers: ReadonlyMap<string, Carrier> | undefined;
  readonly onTrial: boolean;
}

/** Exit code 0: no recorded request would change; 1: some would; 2: there is not enough to tell. */
export async function reportCommand(options: ReportOptions, name: string): Promise<number> {
  if (options.file?.includes('-') === true)
    throw new CliError('--file: `-` can be read once, a report reads twice: name a file');
  const source = await sourceOf(namedLogs(options));
  try {
    return await reportFrom(source, options, name);
  } finally {
    await source.close();
  }
}

async function reportFrom(source: Source, options: ReportOptions, name: string): Promise<number> {
  const range = rangeOf(options);
  const bytes = await source.size();
  const keys = await keysOf(options, name).catch((error: unknown) => {
    // That the set is not there, or a file is refused, is no word on what it would change.
    if (error instanceof AdminError || error instanceof ConfigError)
      throw new CliError(error.message);
    throw error;
  });
  const { tenant, carriers, onTrial } = keys;
  if (carriers?.size === 0)
    throw new CliError(
      `policy set \`${visible(name)}\` is on trial with no key of \`${visible(tenant)}\`: attach it, and see that neither is off, nor both in force`,
    );
  const selection = { tenant, ...range };
  const report = await reportOn({ set: name, selection, carriers, onTrial }, () =>
    onBar(progressBar(bytes, 'records'), source.read(range)),
  );
  const verdict = verdictOf(report);
  const rollout = { set: name, tenant, keys_from: keys.from, verdict, ...report };
  print(options.output, rollout, () => draw(rollout));
  const { lines, first } = report.unreadable;
  if (lines > 0)
    process.stderr.write(
      `warning: ${lines} line(s) are not records, the first: ${visible(first ?? '')}\n`,
    );
  return EXITS[verdict];
}

async function keysOf(options: ReportOptions, name: string): Promise<Keys> {
  if (options.state !== undefined) return keysOfState(options, options.state, name);
  if (hasToken(options)) return keysOfServer(options, name);
  if (options.tenant === undefined)
    throw new CliError('no tenant: give --tenant NAME, or set POSTERN_TENANT');
  process.stderr.write(
    'note: only keys on which a rule of the set has decided are looked at: give --state FILE, or a token to ask the server, for all that carry it\n',
  );
  return { from: 'log', tenant: options.tenant, carriers: undefined, onTrial: true };
}

function keysOfState({ config, packageRoot }: ReportOptions, file: string, name: string): Keys {
  const { catalog, defaults } = loadConfiguration(config, packageRoot);
  const source = readSource(file);
  const state = parseState(source, catalog);
  const built = toFacts(state, fromDefaults(defaults));
  if ('findings' in built) throw refused(source, built.findings);
  const { policy_set: sets, key } = built.facts;
  if (!sets.has(name))
    throw new CliError(`--state: \`${file}\` has no policy set \`${visible(name)}\``);
  const modes = new Map([...sets.values()].map((set) => [set.name, set.mode]));
  return {
    from: 'state',
    tenant: state.tenant,
    carriers: carriersOf(name, key.values(), modes),
    onTrial: modes.get(name) === 'report_only',
  };
}

interface ServedSet {
  readonly name: string;
  readonly mode: Mode;
}

interface ServedKey {
  readonly key: {
    readonly id: string;
    readonly mode: Mode;
    readonly policy_sets: readonly string[];
  };
}

async function keysOfServer(options: ReportOptions, name: string): Promise<Keys> {
  const admin = await openAdmin(options);
  try {
    const set = await admin.call<{ keys: readonly string[] }>('GetPolicySet', { name });
    const { items } = await listAll<ServedSet>(admin.call, 'ListPolicySets', {}, 'policy_sets');
    const modes = new Map(items.map(({ name: other, mode }) => [other, mode]));
    const keys = [];
    for (const id of set.keys) {
      const { key } = await admin.call<ServedKey>('GetKey', { id });
      keys.push({ id, mode: key.mode, policySets: key.policy_sets });
    }
    return {
      from: 'server',
      // The call before has one.
      tenant: options.tenant ?? '',
      carriers: carriersOf(name, keys, modes),
      onTrial: modes.get(name) === 'report_only',
    };
  } finally {
    admin.close();
  }
}

type Verdict = 'safe' | 'would_change' | 'not_enough_evidence';

const EXITS: Readonly<Record<Verdict, number>> = {
  safe: EXIT.ok,
  would_change: EXIT.refused,
  not_enough_evidence: EXIT.usage,
};

function verdictOf({ would_change, took_part, unknown, without_key }: RolloutReport): Verdict {
  if (would_change !== undefined) return 'would_change';
  const isProven = took_part !== undefined && unknown.length === 0 && without_key === 0;
  return isProven ? 'safe' : 'not_enough_evidence';
}

type Rollout = RolloutReport & {
  readonly set: string;
  readonly tenant: string;
  readonly verdict: Verdict;
};

const WORDS: Readonly<Record<Direction, string>> = {
  newly_denied: 'newly denied',
  newly_allowed: 'newly allowed',
};

function draw(rollout: Rollout): string {
  const { groups, other_groups, attributes, other_attributes, unknown, other_unknown } = rollout;
  return [
    ...section(
      ['CHANGE', 'KEY', 'ACTION', 'RULE', ...COUNTS],
      groups.map((group) => [
        WORDS[group.change],
        group.key_id,
        group.action,
        group.rule,
        ...counts(group),
      ]),
      other_groups,
      'of further keys, actions and rules',
    ),
    ...section(
      ['CHANGE', 'ATTRIBUTE', 'VALUES', ...COUNTS],
      attributes.map((one) => [WORDS[one.change], one.attribute, one.values, ...counts(one)]),
      other_attributes,
      'with further attributes',
    ),
    ...section(
      ['NOT KNOWN BESIDE', ...COUNTS],
      unknown.map((one) => [one.other_set === '' ? 'other sets' : one.other_set, ...counts(one)]),
      other_unknown,
      'beside further sets',
    ),
    ...notes(rollout),
    paint(rollout.verdict === 'safe' ? 'green' : 'red', visible(sentence(rollout))),
  ].join('\n');
}

const COUNTS = ['REQUESTS', 'OBJECTS', 'FIRST SEEN', 'LAST SEEN', 'EXAMPLES'];

function counts({ requests, objects, first_seen, last_seen, examples }: Tally): string[] {
  const shown = objects === 0 ? '' : String(objects);
  return [String(requests), shown, first_seen, last_seen, examples.join(' ')];
}

function notes({ outdated, without_key, sampled }: Rollout): string[] {
  return [
    ...(outdated === 0
      ? []
      : [`passed over, from before the set or the key was last changed: ${number(outdated)}`]),
    ...(without_key === 0 ? [] : [`not known of which key: ${number(without_key)}`]),
    ...(sampled === 0
      ? []
      : [`kept by a sampling rule, which never leaves out what would change: ${number(sampled)}`]),
  ];
}

function sentence({ set, tenant, verdict, took_part, would_change, decisions }: Rollout): string {
  if (took_part === undefined)
    return `not enough evidence: of ${number(decisions)} of ${tenant}, ${set} took part in none`;
  const { requests, first_seen, last_seen } = took_part;
  const evidence = `${number(requests)}, ${first_seen} to ${last_seen},`;
  if (verdict === 'would_change')
    return `not safe to enforce ${set}: ${would_change?.requests ?? 0} of ${evidence} would change`;
  if (verdict === 'safe') return `safe to enforce ${set}: none of ${evidence} would change`;
  return `not enough evidence: what ${set} would change of ${evidence} is not known for all: replay them with it`;
}

function number(decisions: number): string {
  return decisions === 1 ? '1 decision' : `${decisions} decisions`;
}
