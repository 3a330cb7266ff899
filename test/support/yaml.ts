/** Files for tests: text to a source, and what a loader says of it. */
import { parseSource } from '../../src/config/document.ts';
import type { Source } from '../../src/config/source.ts';
import { ConfigError, formatProblem } from '../../src/config/problem.ts';

export function source(text: string, file = 'file.yaml'): Source {
  return parseSource(file, text);
}

/** The problems that a loader throws, formatted; empty: it accepts. */
export function problemsOf(load: () => unknown): string[] {
  try {
    load();
    return [];
  } catch (error) {
    if (error instanceof ConfigError) return error.problems.map(formatProblem);
    throw error;
  }
}
