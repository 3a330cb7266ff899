/** The unit tests that run for each mutant of a part (`npm run mutation`); not the long random ones. */
import { defineConfig } from 'vitest/config';

const TESTS: Readonly<Record<string, readonly string[]>> = {
  engine: ['test/engine/**/*.test.ts', 'test/cases/cases.test.ts'],
  rules: [
    'test/admin/**/!(cascade|concurrent|large|migrate|postgres|random|tenant-delete).test.ts',
  ],
  facts: ['test/facts/**/!(property|redis).test.ts'],
  audit: ['test/audit/{impact,schema,withheld}.test.ts'],
};

export default defineConfig({
  test: {
    include: [...(TESTS[process.env['POSTERN_MUTATION'] ?? ''] ?? [])],
    testTimeout: 60_000,
  },
});
