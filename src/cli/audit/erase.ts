/** `postern audit erase`: takes subjects out of what was recorded, for good. */
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { rename, stat } from 'node:fs/promises';
import type { Command } from 'commander';
import { openEraser, type Erased } from '../../audit/logs/erase-subjects.ts';
import { absent, linesOf, rotatedAt, rotatedName, type Line } from '../../audit/logs/names.ts';
import { rewrite } from '../../audit/logs/rewrite.ts';
import { ALWAYS, filesOnce } from '../../audit/logs/log-source.ts';
import { idProblem } from '../../engine/id.ts';
import { collect } from '../kit/arguments.ts';
import {
  namedLogs,
  reading,
  sourceOf,
  type Logs,
  type Run,
  type SourceFlags,
} from './log-options.ts';
import { CliError, EXIT, paint, print, visible, type Format } from '../kit/output.ts';
import { progress } from '../kit/progress.ts';
import { listing } from '../kit/results.ts';

interface Flags extends SourceFlags {
  readonly output: Format;
  readonly tenant?: string;
  readonly subject: readonly string[];
  readonly allTenants?: boolean;
  readonly current?: boolean;
  readonly dryRun?: boolean;
}

/** What is found in a file or stream, and what became of it. */
interface Found {
  readonly where: string;
  readonly records: number;
  readonly places: number;
  readonly erased: boolean;
  /** Why it was left, and the remedy; `''`: it was not. */
  readonly left: string;
}

/** Adds the verb. */
export function auditErase(noun: Command, run: Run): void {
  reading(
    noun
      .command('erase')
      .description('permanently replace a subject by a random name in all records')
      .requiredOption(
        '--subject <principal>',
        'user:alice, or alice; role:team; may be repeated',
        collect,
      )
      .option('--dry-run', 'print what would be replaced, change nothing')
      .option('--all-tenants', 'in all tenants, where the id can belong to another person')
      .option('--current', 'also in the current file, which is rotated first'),
  )
    .addHelpText(
      'after',
      `
In the records of --tenant, the id is replaced by \`erased:\` and a hash. The key of the hash exists only during this run:
the records of one subject still belong together, but the subject cannot be found out. Each file is replaced in one step.
Management records keep the hashes of their original text, so that \`audit verify\` still proves all others.

With --current the current file is renamed as in a rotation and erased 2 seconds later, when the file sink of the server
uses a new file. Stop any other process that writes to the file before.

Entries of a Redis stream cannot be changed: if they name the subject, the command to remove them is printed.

Exit codes: 0 nothing names the subject any more (or a dry run), 1 something is left, 2 usage, or a file cannot be
replaced.

Example:
  postern audit erase --tenant acme --subject user:alice --file audit.jsonl --dry-run`,
    )
    .action(run(erase));
}

/** By then a server's file sink has looked whether its file was moved away, ms. */
const SETTLE_MS = 2_000;

async function erase(options: Flags): Promise<number> {
  const { tenant, dryRun = false } = options;
  const subjects = options.subject.map(subjectName);
  const logs = namedLogs(options);
  if (logs.files.includes('-'))
    throw new CliError('--file: `-` cannot be replaced: give the file itself');
  // Known to this process alone, and to nobody once it ends.
  const key = randomBytes(32);
  const eraser = openEraser({ subjects, tenant, key });
  const files = await filesOnce(logs.files);
  const tell = progress(await bytesOf(files));

  const tenants = new Set<string>();
  const plan: Found[] = [];
  for (const file of files) {
    tell(`look: ${file}`);
    plan.push(await inFile(file, countIn(file, linesOf(file), eraser, tenants)));
  }
  const streamed = await streamsOf(logs, eraser, tenants);
  if (tenants.size > 1 && options.allTenants !== true)
    throw new CliError(
      `--tenant: ${subjects.map((one) => `\`${one}\``).join(', ')} stands in records of ${[...tenants].sort().map(visible).join(', ')}: name one, or give --all-tenants`,
    );

  const done: Found[] = [];
  for (const one of plan) {
    if (one.places > 0) tell(`erase: ${one.where}`);
    done.push(await eraseIn(one, options, eraser));
  }
  if (!dryRun) done.push(...(await newIn(logs, done, eraser)));
  key.fill(0);
  const found = [...done, ...streamed];
  const isLeft = found.some(({ left }) => left !== '');
  print(options.output, { dry_run: dryRun, found }, () => draw(found, dryRun));
  return isLeft && !dryRun ? EXIT.refused : EXIT.ok;
}

function subjectName(given: string): string {
  const name = /^(user|role|workspace):/.test(given) ? given : `user:${given}`;
  const problem = idProblem(name.slice(name.indexOf(':') + 1));
  if (problem !== undefined) throw new CliError(`--subject: \`${visible(given)}\` ${problem}`);
  return name;
}

async function bytesOf(files: readonly string[]): Promise<number> {
  let bytes = 0;
  for (const file of files) bytes += (await stat(file).catch(absent))?.size ?? 0;
  return bytes;
}

type Eraser = (line: string) => Erased | undefined;

async function countIn(
  where: string,
  lines: AsyncIterable<Line>,
  eraser: Eraser,
  tenants: Set<string>,
  onFound: (line: Line) => void = () => {},
): Promise<Found> {
  let records = 0;
  let places = 0;
  for await (const line of lines) {
    const erased = eraser(line.text);
    if (erased === undefined) continue;
    records++;
    places += erased.places;
    tenants.add(erased.tenant);
    onFound(line);
  }
  return { where, records, places, erased: false, left: '' };
}

/** A file that retention has removed meanwhile names nobody. */
async function inFile(where: string, work: Promise<Found>): Promise<Found> {
  try {
    return await work;
  } catch (error) {
    // The one that is written to has another name now.
    if (rotatedAt(where) === undefined || existsSync(where)) throw error;
    absent(error);
    return { where, records: 0, places: 0, erased: false, left: '' };
  }
}

/** What names the subjects still: records that came meanwhile, or were in a file that was renamed. */
async function newIn(logs: Logs, done: readonly Found[], eraser: Eraser): Promise<Found[]> {
  const left = new Set(done.flatMap((one) => (one.left === '' ? [] : [one.where])));
  const found: Found[] = [];
  for (const file of (await filesOnce(logs.files)).filter((name) => !left.has(name))) {
    const one = await inFile(file, countIn(file, linesOf(file), eraser, new Set()));
    if (one.places > 0) found.push({ ...one, left: 'written during this run: erase again' });
  }
  return found;
}

/** Streams are looked at, and left: an entry has neither another text nor another place than its own. */
async function streamsOf(logs: Logs, eraser: Eraser, tenants: Set<string>): Promise<Found[]> {
  const found: Found[] = [];
  for (const stream of logs.streams) {
    const source = await sourceOf({ ...logs, files: [], streams: [stream] });
    try {
      let newest = '';
      const one = await countIn(
        `stream ${stream.key}`,
        source.read(ALWAYS),
        eraser,
        tenants,
        ({ where }) => {
          newest = where.slice(stream.key.length + 1);
        },
      );
      const [ms = '', sequence = ''] = newest.split('-');
      const after = `${ms}-${BigInt(sequence === '' ? 0 : sequence) + 1n}`;
      found.push({
        ...one,
        left:
          one.places === 0
            ? ''
            : `entries cannot be altered: they go by retention, or with all before them by \`XTRIM ${stream.key} MINID ${after}\``,
      });
    } finally {
      await source.close();
    }
  }
  return found;
}

async function eraseIn(found: Found, { dryRun, current }: Flags, eraser: Eraser): Promise<Found> {
  if (found.places === 0) return found;
  const isCurrent = rotatedAt(found.where) === undefined;
  if (isCurrent && current !== true)
    return { ...found, left: 'it may be written to: erase with --current, or once it is rotated' };
  if (dryRun === true) return found;
  const file = isCurrent ? await rotate(found.where) : found.where;
  return inFile(file, eraseFrom(file, eraser));
}

async function eraseFrom(file: string, eraser: Eraser): Promise<Found> {
  const counts = { records: 0, places: 0 };
  await rewrite(file, (text) => {
    const erased = eraser(text);
    if (erased === undefined) return undefined;
    counts.records++;
    counts.places += erased.places;
    return erased.text;
  });
  return { where: file, ...counts, erased: true, left: '' };
}

/** As the server's file sink does it, which then goes on in a new file. */
async function rotate(file: string): Promise<string> {
  let at = Date.now();
  while (existsSync(rotatedName(file, new Date(at)))) at++;
  const name = rotatedName(file, new Date(at));
  await rename(file, name);
  await new Promise((done) => setTimeout(done, SETTLE_MS));
  return name;
}

function draw(found: readonly Found[], dryRun: boolean): string {
  const rows = found.map(({ where, records, places, erased, left }) => [
    where,
    records.toLocaleString('en'),
    places.toLocaleString('en'),
    left === '' ? (erased ? 'erased' : places === 0 ? 'not named' : 'would be erased') : left,
  ]);
  const kept = found.filter(({ left }) => left !== '').length;
  const summary =
    kept > 0
      ? paint('red', `${kept} of ${found.length} left`)
      : paint('green', dryRun ? 'nothing was changed' : 'nothing names the subject any more');
  return `${listing(['FILE', 'RECORDS', 'PLACES', ''], rows, '')}\n${summary}`;
}
