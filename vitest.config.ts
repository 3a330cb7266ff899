import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/setup.ts'],
    reporters: ['default', './test/support/closing-line.ts'],
    // Half of them wait for processes of their own; more at once would make those late.
    maxWorkers: 2,
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // Bounds are asserted where there are some: what is only waited for may take as long as a busy machine needs.
    expect: { poll: { timeout: 20_000 } },
  },
});
