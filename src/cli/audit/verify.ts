/** `postern audit verify`: whether a log is whole. */
import type { Command } from 'commander';
import { readKey } from '../../audit/open.ts';
import type { AuditRecord } from '../../audit/record/line.ts';
import { ALWAYS } from '../../audit/logs/log-source.ts';
import {
  openVerifier,
  type Finding,
  type FindingKind,
  type InstanceReport,
  type Report,
} from '../../audit/logs/verify-log.ts';
import { collect } from '../kit/arguments.ts';
import { namedLogs, reading, sourceOf, type Run, type SourceFlags } from './log-options.ts';
import { columns } from '../kit/columns.ts';
import { CliError, EXIT, paint, print, visible, type Format } from '../kit/output.ts';
import { progress } from '../kit/progress.ts';

interface Flags extends SourceFlags {
  readonly output: Format;
  readonly chainKeyFile?: string;
  readonly complete?: boolean;
  readonly requireSeals?: boolean;
  readonly expectSeq?: readonly string[];
  readonly expectErased?: number;
  readonly expectCut?: number;
  readonly schema?: boolean;
}

/** Adds the verb. */
export function auditVerify(noun: Command, run: Run): void {
  reading(
    noun
      .command('verify')
      .description('find missing, duplicate, truncated and altered records')
      .option('--chain-key-file <file>', 'the key of seals and chains, if one is used')
      .option(
        '--complete',
        'fail if the log is not proven complete, from record 1 of each instance to its last seal',
      )
      .option(
        '--require-seals',
        'fail on records without a seal, and on instances without a last seal',
      )
      .option(
        '--expect-seq <instance:seq>',
        'fail if the log lacks records of an instance up to this one; repeatable',
        collect,
      )
      .option(
        '--expect-erased <count>',
        'with --complete: the known number of records with an erased subject (default: 0)',
        (text: string) => expectedCount('--expect-erased', text),
      )
      .option(
        '--expect-cut <count>',
        'with --complete: the known number of stubs (default: 0)',
        (text: string) => expectedCount('--expect-cut', text),
      )
      .option('--schema', 'also check each record against the schema'),
  )
    .addHelpText(
      'after',
      `
If older files were removed, an instance starts after record 1. This is reported, and is a failure only with --complete. With
--complete a log is whole if each instance starts with record 1, a seal proves every record, the last seal marks the end (or
--expect-seq gives the last number), and the numbers of erased records and stubs are the known ones: anyone who can write the log can
put such a record in the place of any other. An empty log is then not whole. The last line of the current file can be incomplete
while the server writes it: verify again.

The seal that follows within audit.seal_ms proves a record. Records without a seal are reported: those after the last seal, those
of an older version, and those whose seals were removed. The output also lists what the log alone cannot prove: without a key,
that nobody created all seals again; for an instance without a last seal, that its end was not removed. The server logs the
number for --expect-seq when it stops.

Exit codes: 0 the log is whole, 1 it is not, 2 usage, or the log cannot be read.

Example:
  postern audit verify --file audit.jsonl --schema`,
    )
    .action(run(verify));
}

async function verify(options: Flags): Promise<number> {
  const { complete = false, requireSeals = false, chainKeyFile, schema } = options;
  const logs = namedLogs(options);
  const verifier = openVerifier({
    complete,
    requireSeals,
    expectedErased: options.expectErased,
    expectedCut: options.expectCut,
    expected: new Map((options.expectSeq ?? []).map(expectedSeq)),
    chainKey: readKey('--chain-key-file', chainKeyFile ?? logs.chainKeyFile),
    shapeProblem: schema === true ? await shapeProblems() : () => undefined,
  });
  const source = await sourceOf(logs);
  try {
    const tell = progress(await source.size());
    let lines = 0;
    for await (const line of source.read(ALWAYS)) {
      verifier.take(line);
      if (++lines % STEP === 0) tell(`verify: ${lines.toLocaleString('en')} lines`);
    }
  } finally {
    await source.close();
  }
  const report = verifier.end();
  const named = (options.expectSeq ?? []).length > 0;
  print(options.output, report, () => draw(report, named));
  return report.whole ? EXIT.ok : EXIT.refused;
}

function expectedSeq(text: string): [instance: string, seq: number] {
  const [, instance, seq] = /^([0-9a-f]{12}):(\d{1,15})$/.exec(text) ?? [];
  if (instance === undefined)
    throw new CliError(
      `--expect-seq: \`${visible(text)}\` is none: give the instance and the number of a record, such as 0123456789ab:4711`,
    );
  return [instance, Number(seq)];
}

function expectedCount(flag: string, text: string): number {
  if (!/^\d{1,15}$/.test(text))
    throw new CliError(
      `${flag}: \`${visible(text)}\` is none: give a number of records, such as 3`,
    );
  return Number(text);
}

const STEP = 10_000;

/** Loaded where it is asked for: it is as much again. */
async function shapeProblems(): Promise<(record: AuditRecord) => string | undefined> {
  const { recordSchema } = await import('../../audit/record/schema.ts');
  return (record) => {
    const issue = recordSchema.safeParse(record).error?.issues[0];
    if (issue === undefined) return undefined;
    const path = issue.path.map(String).join('.');
    return `${path === '' ? '' : `${path}: `}${issue.message.toLowerCase()}`;
  };
}

/** Instances that are listed; of more, those with something to tell. */
const MAX_INSTANCES = 50;

/** @param named whether instances are known from elsewhere */
function draw(report: Report, named: boolean): string {
  const { whole, records, instances, missing, erased, unsealed } = report;
  const counted = (count: number, what: string): string => `${count.toLocaleString('en')} ${what}`;
  const summary = [
    counted(records, 'record(s)'),
    `of ${counted(instances.length, 'instance(s)')}`,
    ...(missing > 0 ? [counted(missing, 'missing')] : []),
    ...(erased > 0 ? [counted(erased, 'with an erased subject')] : []),
    ...(unsealed > 0 ? [counted(unsealed, 'unsealed')] : []),
  ].join(', ');
  return [
    ...drawInstances(report),
    ...report.findings.map(drawFinding),
    ...drawMore(report),
    ...drawUnknown(report, named),
    `${whole ? paint('green', 'whole') : paint('red', 'not whole')}: ${summary}`,
  ].join('\n');
}

function drawInstances({ instances }: Report): string[] {
  const notable = instances.filter(
    ({ first, missing, erased, unsealed }) =>
      first > 1 || missing > 0 || erased > 0 || unsealed > 0,
  );
  const listed = (instances.length > MAX_INSTANCES ? notable : instances).slice(0, MAX_INSTANCES);
  const more = instances.length - listed.length;
  const heads = ['INSTANCE', 'RECORDS', 'MISSING', 'MANAGEMENT', 'ERASED', 'UNSEALED', ''];
  const rows = listed.map((one) => [
    visible(one.instance),
    ...[one.records, one.missing, one.management, one.erased, one.unsealed].map((count) =>
      count.toLocaleString('en'),
    ),
    drawExtent(one),
  ]);
  return [
    ...(rows.length === 0 ? [] : [columns([heads.map((head) => paint('bold', head)), ...rows])]),
    ...(more > 0 ? [`${more.toLocaleString('en')} more instance(s): -o json lists them`] : []),
  ];
}

function drawExtent({ first, last, predecessor, ended, cut }: InstanceReport): string {
  return [
    ...(first > 1 ? [`begins at ${first}`] : []),
    ...(predecessor === undefined ? [] : [`after seal ${predecessor.slice(0, 12)}`]),
    `${ended ? 'closed' : 'ends'} at ${last}`,
    ...(cut > 0 ? [`${cut.toLocaleString('en')} cut down`] : []),
  ].join(', ');
}

/** What nothing in the log can tell. */
function drawUnknown({ instances, withKey, unsealed }: Report, named: boolean): string[] {
  const open = instances.filter(({ ended }) => !ended).length;
  const sealed = instances.some(({ seals }) => seals > 0);
  return [
    ...(unsealed > 0
      ? [
          'unsealed records are not proven: an older version wrote them, their seal was not written yet, or it was removed',
        ]
      : []),
    ...(open > 0
      ? [
          `not known: whether the end of ${open.toLocaleString('en')} instance(s) was cut off, that run, were killed, or have no last seal (--expect-seq)`,
        ]
      : []),
    ...(named ? [] : ['not known: whether all records of an instance were removed (--expect-seq)']),
    ...(sealed && !withKey
      ? [
          'not known: whether all seals were created again, which needs no key here (audit.chain_key_file)',
        ]
      : []),
  ].map((text) => paint('dim', text));
}

const WORDS: Readonly<Record<FindingKind, string>> = {
  chain: 'tampered',
  unproven: 'not proven',
  unsealed: 'unsealed',
  gap: 'gap',
  begins: 'begins late',
  empty: 'empty',
  erased: 'erased',
  cut: 'cut down',
  duplicate: 'doubled',
  order: 'out of order',
  torn: 'cut off',
  no_record: 'no record',
  schema: 'schema',
};

function drawFinding({ kind, where, instance, seq, last, message }: Finding): string {
  const number =
    seq === undefined
      ? undefined
      : last === undefined || last === seq
        ? `record ${seq}`
        : `records ${seq} to ${last}`;
  const place = [where, instance === undefined ? undefined : `instance ${instance}`, number]
    .filter((part) => part !== undefined)
    .join(', ');
  return `${paint('red', WORDS[kind])}: ${visible(place === '' ? message : `${place}: ${message}`)}`;
}

/** What is not told one by one is told by its number. */
function drawMore({ counts, findings }: Report): string[] {
  return Object.entries(counts).flatMap(([kind, count]) => {
    const more = count - findings.filter((one) => one.kind === kind).length;
    // The kinds are the keys of the counts.
    const word = WORDS[kind as FindingKind];
    return more > 0 ? [`${paint('red', word)}: ${more.toLocaleString('en')} more`] : [];
  });
}
