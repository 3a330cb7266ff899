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
      .description('tell whether records are missing, doubled, cut off or tampered with')
      .option('--chain-key-file <file>', 'the key of seals and chains, if they have one')
      .option(
        '--complete',
        'refuse a log that cannot prove that it is complete: from record 1 of each instance to its last seal',
      )
      .option(
        '--require-seals',
        'refuse records that no seal proves, and instances without their last seal',
      )
      .option(
        '--expect-seq <instance:seq>',
        'refuse a log that has not all records of an instance up to this one; may be repeated',
        collect,
      )
      .option(
        '--expect-erased <count>',
        'with --complete: so many records are known to have an erased subject (default: 0)',
        (text: string) => expectedCount('--expect-erased', text),
      )
      .option(
        '--expect-cut <count>',
        'with --complete: so many records are known to be cut down (default: 0)',
        (text: string) => expectedCount('--expect-cut', text),
      )
      .option('--schema', 'check the shape of each record, too'),
  )
    .addHelpText(
      'after',
      `
Where older files were removed, an instance begins later than with its record 1: this is told, and is no failure without
--complete. With --complete a log is whole where each instance begins with record 1, every record is proven by a seal, the last
seal says that nothing follows or --expect-seq tells the last number, and no more records say that they were erased or cut down
than are known: whoever can write the log can put such a one in the place of any record. An empty log is not whole then. Of the file that a server writes to, the last line may be cut off at this very moment: verify again.

Every record is proven by the seal that follows it, within audit.seal_ms. What no seal proves is told: records that came after the
last one, that an older version wrote, or whose seals were taken away. What cannot be known from the log alone is told, too:
without a key, whether all of it was made anew; of an instance without its last seal, whether its end was cut off. The number
that a server tells in its log when it ends can be given as --expect-seq.

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
          'unsealed records are not proven: an older version wrote them, their seal had not come yet, or it was taken away',
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
          'not known: whether all seals were made anew, which takes no key here (audit.chain_key_file)',
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
