/** JUnit reports, for CI. */
import { writeFileSync } from 'node:fs';
import junit, { type Builder } from 'junit-report-builder';

export interface Case {
  readonly suite: string;
  readonly name: string;
  /** Empty: it passed. */
  readonly failures: readonly string[];
  /** It could not be tried. */
  readonly isSkipped?: boolean;
}

export function writeJunit(file: string, cases: readonly Case[]): void {
  // The package's types speak of a `default` that its CommonJS build does not have.
  const builder = (junit as unknown as Builder).newBuilder();
  for (const [name, tests] of Map.groupBy(cases, ({ suite }) => suite)) {
    const suite = builder.testSuite().name(name);
    for (const { name: title, failures, isSkipped } of tests) {
      const entry = suite.testCase().className(name).name(title);
      if (isSkipped === true) entry.skipped();
      if (failures.length > 0) entry.failure(failures.join('\n'));
    }
  }
  writeFileSync(file, builder.build());
}
