/** `postern replay`: recorded decisions, decided again by candidate policies, roles and facts. */
import { ConfigError } from '../../config/problem.ts';
import { isRedisAddress, withoutSecrets } from '../../store/redis/address.ts';
import {
  CHANGES,
  type Change,
  type ChangeKind,
  type Obstacle,
  type Answer,
} from '../../offline/replay/change.ts';
import { replay, type Replayed } from '../../offline/replay/replay-log.ts';
import type { Source } from '../../audit/logs/log-source.ts';
import type { Tally } from '../../audit/reports/tally.ts';
import { namedLogs, rangeOf, sourceOf, type RangeFlags } from '../audit/log-options.ts';
import { withCandidate, type CandidateOptions } from './candidate.ts';
import { writeJunit, type Case } from './junit.ts';
import { CliError, EXIT, paint, print, visible, type Format } from '../kit/output.ts';
import { onBar, progressBar } from '../kit/progress.ts';
import { section } from '../kit/results.ts';

/** What `--fail-on` takes, and the differences that each stands for. */
const FAIL_ON: Readonly<Record<string, readonly ChangeKind[]>> = {
  any: CHANGES,
  'allow-to-deny': ['allow_to_deny', 'filter_hidden'],
  'deny-to-allow': ['deny_to_allow', 'filter_shown'],
};

export interface ReplayOptions extends CandidateOptions, RangeFlags {
  readonly output: Format;
  /** Files, or the address of one Redis. */
  readonly log: readonly string[];
  /** The stream in that Redis. */
  readonly stream: string;
  readonly failOn: string;
  /** Where a JUnit report goes. */
  readonly junit?: string;
}

/** Exit code 1: there are differences of the kind that fails; 2: nothing could be replayed. */
export async function replayCommand(options: ReplayOptions): Promise<number> {
  const source = await sourceOf(logsOf(options));
  try {
    return await replayFrom(source, options);
  } finally {
    await source.close();
  }
}

async function replayFrom(source: Source, options: ReplayOptions): Promise<number> {
  const range = rangeOf(options);
  const selection = { tenant: options.tenant, ...range };
  const bytes = await source.size();
  const startedAt = performance.now();
  const replayed = await withCandidate(options, (candidate) =>
    replay(onBar(progressBar(bytes, 'records'), source.read(range)), candidate, selection),
  ).catch((error: unknown) => {
    // A file that is refused is no difference.
    throw error instanceof ConfigError ? new CliError(error.message) : error;
  });
  const seconds = (performance.now() - startedAt) / 1_000;
  const failing = FAIL_ON[options.failOn] ?? CHANGES;
  if (options.junit !== undefined) writeJunit(options.junit, casesOf(replayed, failing));
  print(options.output, replayed, () => draw(replayed, seconds));
  const { lines, first } = replayed.unreadable;
  if (lines > 0)
    process.stderr.write(
      `warning: ${lines} line(s) are not records, the first: ${visible(first ?? '')}\n`,
    );
  if (replayed.replayed === 0) {
    process.stderr.write(
      replayed.decisions === 0
        ? 'postern: no decision was found: check --log, --tenant, --from and --to\n'
        : 'postern: no decision could be replayed: see the causes\n',
    );
    return EXIT.usage;
  }
  return failing.some((kind) => replayed.differences[kind] > 0) ? EXIT.refused : EXIT.ok;
}

function logsOf({ log, stream, packageRoot }: ReplayOptions): ReturnType<typeof namedLogs> {
  const redis = log.find(isRedisAddress);
  if (redis !== undefined && log.length > 1)
    throw new CliError(`--log: \`${withoutSecrets(redis)}\` is a Redis, and stands alone`);
  return namedLogs({ ...(redis === undefined ? { file: log } : { redis }), stream, packageRoot });
}

const CHANGE_WORDS: Readonly<Record<ChangeKind, string>> = {
  allow_to_deny: 'allow → deny',
  deny_to_allow: 'deny → allow',
  filter_hidden: 'filter hides',
  filter_shown: 'filter shows',
  reason: 'other reason',
};

const CAUSE_WORDS: Readonly<Record<Obstacle['cause'], string>> = {
  no_decision: 'no facts decided',
  no_question: 'no route made a question of it',
  credential: 'the credential or the key was refused',
  key_of_another_user: 'the key acts for another user now',
  withheld_input: 'the record leaves out what the decision depends on',
  erased: 'the record was erased',
  no_facts: 'no facts of the tenant were given',
};

function draw(replayed: Replayed, seconds: number): string {
  const { changes, other_changes, causes, other_causes } = replayed;
  const { decisions, unchanged, not_replayable, independent, sampled } = replayed;
  const rate = Math.round(replayed.replayed / Math.max(seconds, 0.001));
  return [
    ...section(
      ['CHANGE', 'REQUESTS', 'OBJECTS', 'KEY', 'ACTION', 'BEFORE', 'AFTER', 'LAYER', 'EXAMPLES'],
      changes.map(changeRow),
      other_changes,
      'that differ in further ways',
    ),
    ...section(
      ['NOT REPLAYED BECAUSE', 'OF', 'REQUESTS', 'EXAMPLES'],
      causes.map(({ cause, of, requests, examples }) => [
        CAUSE_WORDS[cause],
        of,
        String(requests),
        examples.join(' '),
      ]),
      other_causes,
      'of further causes',
    ),
    ...(independent === 0
      ? []
      : [`${independent} replayed although an input is left out: they do not depend on it`]),
    ...(sampled.records === 0
      ? []
      : [
          `${sampled.records} of the records are a sample of about ${sampled.stand_for} decisions: the others were not recorded`,
        ]),
    `${decisions} decisions: ${replayed.replayed} replayed, ${not_replayable} not; ${unchanged} unchanged, ${paint(unchanged === replayed.replayed ? 'green' : 'red', `${replayed.replayed - unchanged} different`)} ${paint('dim', `(${seconds.toFixed(1)} s, ${rate}/s)`)}`,
  ].join('\n');
}

function changeRow(change: Change & Tally): string[] {
  const { requests, objects, key_id, action, layer, before, after, examples } = change;
  return [
    CHANGE_WORDS[change.change],
    String(requests),
    objects === 0 ? '' : String(objects),
    key_id,
    action,
    shownAnswer(before),
    shownAnswer(after),
    layer,
    examples.join(' '),
  ];
}

function shownAnswer({ reason, policy, by }: Answer): string {
  return [reason, ...policy, ...(by === undefined ? [] : [`by ${by}`])].join(' ');
}

/** A case a way to differ, of a suite a kind; what cannot be replayed is skipped. */
function casesOf(
  { changes, causes, differences }: Replayed,
  failing: readonly ChangeKind[],
): readonly Case[] {
  const failed = changes.map((change): Case => {
    const { key_id, action, before, after, requests, examples, tenant } = change;
    const who = key_id === '' ? tenant : `${tenant} ${key_id}`;
    const text = `${requests} request(s): ${shownAnswer(before)} → ${shownAnswer(after)}; for example ${examples.join(', ')}`;
    return {
      suite: `replay: ${CHANGE_WORDS[change.change]}`,
      name: `${who}: ${action}: ${shownAnswer(before)} → ${shownAnswer(after)}`,
      failures: failing.includes(change.change) ? [text] : [],
    };
  });
  const passed = CHANGES.filter((kind) => differences[kind] === 0).map((kind): Case => ({
    suite: `replay: ${CHANGE_WORDS[kind]}`,
    name: 'no request',
    failures: [],
  }));
  const skipped = causes.map(({ cause, of, requests }): Case => ({
    suite: 'replay: not replayable',
    name: `${requests} request(s): ${CAUSE_WORDS[cause]}${of === '' ? '' : `: ${of}`}`,
    failures: [],
    isSkipped: true,
  }));
  return [...failed, ...passed, ...skipped];
}
