/** `postern test DIR`: policy unit tests (`*_test.yaml`) on the engine. */
import { readSource } from '../config/document.ts';
import { loadSuite, runSuite, type TestResult } from '../policy-test.ts';
import { CliError, EXIT, paint, print, visible, type Format } from './output.ts';
import { columns } from './columns.ts';
import { writeJunit } from './junit.ts';
import { contextOf, yamlFiles } from './validate.ts';

export interface TestOptions {
  readonly output: Format;
  readonly packageRoot: string;
  /** Where a JUnit report goes. */
  readonly junit?: string;
  readonly verbose?: boolean;
}

/** Exit code 1: a test failed. */
export async function test(directory: string, options: TestOptions): Promise<number> {
  const sources = yamlFiles(directory).map(readSource);
  const context = contextOf(directory, sources, options.packageRoot);
  const suites = sources.filter(
    ({ value }) => typeof value === 'object' && value !== null && Object.hasOwn(value, 'tests'),
  );
  if (suites.length === 0)
    throw new CliError(`no policy test in \`${directory}\`: a test file has a key \`tests\``);
  const results = suites.flatMap((source) =>
    runSuite(loadSuite(source, context.catalog, context.defaults)),
  );
  const failed = results.filter(({ failures }) => failures.length > 0);
  if (options.junit !== undefined) writeJunit(options.junit, results);
  const counts = { passed: results.length - failed.length, failed: failed.length };
  print(options.output, { ...counts, results }, () =>
    [
      ...(options.verbose === true ? results : failed).flatMap(draw),
      summary(results),
      '',
      `${counts.passed} passed, ${counts.failed} failed`,
    ].join('\n'),
  );
  return failed.length === 0 ? EXIT.ok : EXIT.refused;
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

function draw({ suite, name, failures }: TestResult): string[] {
  const mark = failures.length === 0 ? paint('green', '✓') : paint('red', '✗');
  return [
    `${mark} ${visible(`${suite}: ${name}`)}`,
    ...failures.map((line) => `    ${visible(line)}`),
  ];
}
