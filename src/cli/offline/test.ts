/** `postern test DIR`: policy unit tests (`*_test.yaml`) on the engine. */
import { readSource } from '../../config/document.ts';
import { loadSuite, runSuite, type TestResult } from '../../offline/policy-tests.ts';
import { COVERAGE_KINDS, CoverageCounter, type Coverage } from '../../offline/coverage.ts';
import { CliError, EXIT, paint, print, visible, type Format } from '../kit/output.ts';
import { columns } from '../kit/columns.ts';
import { writeJunit } from './junit.ts';
import { contextOf, yamlFiles } from './validate.ts';

export interface TestOptions {
  readonly output: Format;
  readonly packageRoot: string;
  /** Where a JUnit report goes. */
  readonly junit?: string;
  readonly verbose?: boolean;
  /** Only tests whose `suite: name` this regular expression matches. */
  readonly run?: string;
  /** Tell what the tests never exercise. */
  readonly coverage?: boolean;
  /** Percent below which it fails; implies `coverage`. */
  readonly coverageMin?: string;
}

/** Exit code 1: a test failed, or less is exercised than is asked for. */
export async function test(directory: string, options: TestOptions): Promise<number> {
  const only = options.run === undefined ? undefined : regexOf(options.run);
  const least = options.coverageMin === undefined ? undefined : percentOf(options.coverageMin);
  const sources = yamlFiles(directory).map(readSource);
  const context = contextOf(directory, sources, options.packageRoot);
  const suites = sources.filter(
    ({ value }) => typeof value === 'object' && value !== null && Object.hasOwn(value, 'tests'),
  );
  if (suites.length === 0)
    throw new CliError(`no policy test in \`${directory}\`: a test file has a key \`tests\``);
  const counter =
    options.coverage === true || least !== undefined ? new CoverageCounter() : undefined;
  const now = Date.now();
  const results = suites.flatMap((source) => {
    const suite = loadSuite(source, context.catalog, context.defaults);
    return runSuite(suite, { only, now, onExercised: counter?.add(suite) });
  });
  if (results.length === 0)
    throw new CliError(`--run: \`${options.run ?? ''}\` matches no test in \`${directory}\``);
  const failed = results.filter(({ failures }) => failures.length > 0);
  const coverage = counter?.result();
  if (options.junit !== undefined) writeJunit(options.junit, results);
  const counts = { passed: results.length - failed.length, failed: failed.length };
  print(
    options.output,
    { ...counts, ...(coverage === undefined ? {} : { coverage }), results },
    () =>
      [
        ...(options.verbose === true ? results : failed).flatMap(draw),
        summary(results),
        '',
        ...(coverage === undefined ? [] : drawCoverage(coverage, least)),
        `${counts.passed} passed, ${counts.failed} failed`,
      ].join('\n'),
  );
  const isCovered = coverage === undefined || least === undefined || coverage.percent >= least;
  return failed.length === 0 && isCovered ? EXIT.ok : EXIT.refused;
}

function regexOf(text: string): RegExp {
  try {
    return new RegExp(text, 'u');
  } catch {
    throw new CliError(
      `--run: \`${text}\` is not a regular expression: write \`\\\` before a character with a special meaning`,
    );
  }
}

function percentOf(text: string): number {
  const percent = /^\d{1,3}(\.\d+)?$/.test(text) ? Number(text) : NaN;
  if (!(percent <= 100))
    throw new CliError(
      `--coverage-min: \`${text}\` is not a percentage: give a number from 0 to 100`,
    );
  return percent;
}

/** A line a test file: how many of its tests passed. */
function summary(results: readonly TestResult[]): string {
  const suites = [...Map.groupBy(results, ({ suite }) => suite)];
  return columns([
    ['SUITE', 'PASSED', 'FAILED'].map((head) => paint('bold', head)),
    ...suites.map(([suite, tests]) => {
      const failed = tests.filter(({ failures }) => failures.length > 0).length;
      return [visible(suite), String(tests.length - failed), String(failed)];
    }),
  ]);
}

function draw({ suite, name, place, failures, evidence }: TestResult): string[] {
  if (failures.length === 0) return [`${paint('green', '✓')} ${visible(`${suite}: ${name}`)}`];
  return [
    `${paint('red', '✗')} ${visible(`${suite}: ${name}`)}  ${paint('dim', visible(place))}`,
    ...failures.map((line) => `    ${visible(line)}`),
    ...evidence.map((line) => paint('dim', `      ${visible(line)}`)),
  ];
}

/** What no test has exercised, by name. */
function drawCoverage(coverage: Coverage, least: number | undefined): string[] {
  const rows = COVERAGE_KINDS.map((kind) => {
    const { total, exercised } = coverage[kind];
    return [kind, String(exercised), String(total)];
  });
  const missed = COVERAGE_KINDS.flatMap((kind) => coverage[kind].missed);
  const percent = `${coverage.percent.toFixed(1)} %`;
  const isLow = least !== undefined && coverage.percent < least;
  return [
    columns([['COVERAGE', 'EXERCISED', 'OF'].map((head) => paint('bold', head)), ...rows]),
    '',
    ...(missed.length === 0
      ? []
      : ['never exercised:', ...missed.map((name) => `  ${visible(name)}`), '']),
    isLow ? paint('red', `${percent} exercised, ${least} % required`) : `${percent} exercised`,
  ];
}
