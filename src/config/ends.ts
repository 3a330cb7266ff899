/** The mark `...` at the end of the files that a server reads when it starts: without it a file was cut off. */
import { endOf } from './document.ts';
import { migrationFiles } from './migration.ts';
import { ConfigError, type Problem } from './problem.ts';
import type { Settings } from './settings/settings-schema.ts';
import { readStable } from './stable.ts';

/**
 * Settings that end with the mark vouch for the files that a server reads with them.
 * @param states what `serve --state` names
 * @throws ConfigError with each file that has no mark at its end
 */
export function needEnds(settings: Settings, states: readonly string[] = []): void {
  const problems = missingEnds(settings, states);
  if (problems.length > 0) throw new ConfigError(problems);
}

/** Of catalog, default roles, routes, migrations and states: each that has no mark at its end. */
export function missingEnds(settings: Settings, states: readonly string[] = []): Problem[] {
  const { catalog, default_roles: roles, routes, migrations } = settings;
  const named = [catalog, roles, ...(routes === undefined ? [] : [routes]), ...states];
  return [...named, ...migrationFiles(migrations).files].flatMap(endProblem);
}

function endProblem(file: string): Problem[] {
  let text: string;
  try {
    text = readStable(file).toString('utf8');
  } catch {
    // Whoever parses it says why.
    return [];
  }
  // JSON that is cut off is no JSON.
  const { isEnded, isBraced } = endOf(text);
  if (isEnded || isBraced) return [];
  const message =
    'is cut off, or lacks its end: the settings end with `...`, and so must each file that they name: write it whole, with `...` as its last line';
  return [{ file, line: text.split('\n').length, column: 1, path: '', message, severity: 'error' }];
}
