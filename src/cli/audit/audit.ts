/** `postern audit`: reads, verifies and erases what was recorded. */
import type { Command } from 'commander';
import { matcherOf } from '../../audit/logs/record-filter.ts';
import type { Line } from '../../audit/logs/names.ts';
import { parseRecord } from '../../audit/record/line.ts';
import { ALWAYS, type Range } from '../../audit/logs/log-source.ts';
import { parseInteger } from '../kit/arguments.ts';
import { auditErase } from './erase.ts';
import { filtering, filterOf, type FilterFlags } from './filter-options.ts';
import { HEADING, shown, strangeLine } from './shown-line.ts';
import {
  namedLogs,
  rangeOf,
  reading,
  runnerOf,
  sourceOf,
  within,
  type RangeFlags,
  type SourceFlags,
} from './log-options.ts';
import { auditVerify } from './verify.ts';
import { EXIT, printLines, type Format } from '../kit/output.ts';
import { untilStopped } from '../serve/signals.ts';
import { limitOption, parseLimit, type LimitFlag } from '../kit/verb.ts';

type Flags = SourceFlags & FilterFlags & { readonly output: Format };

const MOST = 4_294_967_295;
/** Lines that are printed at once. */
const PAGE = 500;

/** Adds the verbs of `postern audit`. */
export function auditVerbs(noun: Command, packageRoot: string): void {
  const run = runnerOf(packageRoot);
  filtering(
    reading(
      noun
        .command('tail')
        .description('follow the log until interrupted')
        .option('-n, --lines <n>', 'first print this many of the existing records', '10'),
    ),
  )
    .addHelpText(
      'after',
      `
All records of standard input are new. Of workers, the files that exist at the start are followed. With -o json each record is a line of
JSON.

Examples:
  postern audit tail --file audit.jsonl --outcome denied --action 'graph.*'
  kubectl logs -f pod/app -c postern | postern audit tail --file - --differs`,
    )
    .action(run(tail));
  filtering(
    reading(
      within(
        noun
          .command('query')
          .description('print the records of a time range')
          .addOption(limitOption()),
      ),
    ),
  )
    .addHelpText(
      'after',
      `
With -o json each record is a line of JSON, unchanged. Records of several logs, also those of workers, are merged by time.
If the sink failed for more than an hour, --to can exclude the file of a late record: omit --to then.

Exit codes: 0 records were found, 1 none, 2 usage, or the log cannot be read.

Example:
  postern audit query --file audit.jsonl --from 1h --subject alice --outcome denied`,
    )
    .action(run(query));
  auditVerify(noun, run);
  auditErase(noun, run);
}

async function tail(options: Flags & { readonly lines: string }): Promise<number> {
  const count = parseInteger('--lines', options.lines, 0, MOST);
  const draw = drawing(options, ALWAYS);
  const ending = untilStopped();
  // Whoever read the lines has seen enough.
  process.stdout.once('error', () => ending.abort());
  const source = await sourceOf(namedLogs(options));
  try {
    const following = await source.follow();
    await printLines(await newest(following.before(), count, draw));
    for await (const { text } of following.after(ending.signal)) {
      const drawn = draw(text);
      if (drawn !== undefined && !(await printLines([drawn.line]))) break;
    }
  } finally {
    await source.close();
  }
  return EXIT.ok;
}

/** The newest records of all logs together, by their time. */
async function newest(
  logs: readonly AsyncIterable<Line>[],
  count: number,
  draw: Draw,
): Promise<string[]> {
  const drawn: Drawn[] = [];
  for (const log of count > 0 ? logs : []) {
    let own = 0;
    for await (const { text } of log) {
      const one = draw(text);
      if (one === undefined) continue;
      drawn.push(one);
      if (++own === count) break;
    }
  }
  // Of one log they stay in its order.
  const sorted = logs.length > 1 ? drawn.sort(byTime) : drawn;
  return sorted
    .slice(0, count)
    .map(({ line }) => line)
    .toReversed();
}

/** The newest first. */
function byTime(one: Drawn, other: Drawn): number {
  if (one.time === other.time) return 0;
  return one.time < other.time ? 1 : -1;
}

async function query(options: Flags & LimitFlag & RangeFlags): Promise<number> {
  const range = rangeOf(options);
  const limit = parseLimit(options) ?? Infinity;
  const hidden = { records: 0 };
  const draw = drawing(options, range, hidden);
  const source = await sourceOf(namedLogs(options));
  let found = 0;
  let waiting: string[] = options.output === 'table' ? [HEADING] : [];
  try {
    for await (const { text } of source.read(range)) {
      const drawn = draw(text);
      if (drawn === undefined) continue;
      waiting.push(drawn.line);
      if (++found === limit) break;
      if (waiting.length < PAGE) continue;
      if (!(await printLines(waiting))) return EXIT.ok;
      waiting = [];
    }
  } finally {
    await source.close();
  }
  if (found > 0) await printLines(waiting);
  else process.stderr.write('nothing is found\n');
  if (hidden.records > 0)
    process.stderr.write(
      `${hidden.records.toLocaleString('en')} more record(s) name no tenant: --with-unattributed shows them\n`,
    );
  return found > 0 ? EXIT.ok : EXIT.refused;
}

/** What is printed of a record. */
interface Drawn {
  readonly line: string;
  readonly time: string;
}

/** `undefined`: nothing is printed of a line. */
type Draw = (text: string) => Drawn | undefined;

/** @param hidden counts the records that would be shown, if only they named the tenant */
function drawing(flags: Flags, range: Range, hidden = { records: 0 }): Draw {
  const filter = filterOf(flags, range);
  const matches = matcherOf(filter);
  const isUnattributed =
    flags.tenant === undefined ? (): boolean => false : matcherOf({ ...filter, tenant: '' });
  return (text) => {
    const record = parseRecord(text);
    if (record !== undefined) {
      const isOwn = matches(record);
      const isElse = !isOwn && isUnattributed(record);
      if (isElse && flags.withUnattributed !== true) hidden.records++;
      return isOwn || (isElse && flags.withUnattributed === true)
        ? { line: shown(flags.output, record, text), time: record.time }
        : undefined;
    }
    // Told, whatever is looked for: it may have been what is missed.
    process.stderr.write(`${strangeLine(text)}\n`);
    return undefined;
  };
}
