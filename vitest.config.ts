import { defineConfig } from 'vitest/config';
import { UNIT } from './test/support/projects.ts';

// An older Node on the path makes single tests fail for reasons that are hard to see.
if (Number(process.versions.node.split('.')[0]) < 24)
  throw new Error(
    `tests run on Node 24, this is ${process.version}: use \`npm test\` or \`npx vitest\``,
  );

const TEST = 'test/**/*.test.ts';

export default defineConfig({
  test: {
    reporters: ['default', './test/support/closing-line.ts'],
    // Half of them wait for processes of their own; more at once would make those late.
    maxWorkers: 2,
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // Bounds are asserted where there are some: what is only waited for may take as long as a busy machine needs.
    expect: { poll: { timeout: 20_000 } },
    projects: [
      { extends: true, test: { name: 'unit', include: UNIT } },
      {
        extends: true,
        test: { name: 'system', include: [TEST], exclude: UNIT, globalSetup: ['test/setup.ts'] },
      },
    ],
  },
});
