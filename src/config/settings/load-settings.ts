/** The settings in force: file, environment variables and defaults, checked against each other, frozen. */
import { existsSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { auditProblems } from '../audit.ts';
import { parseSource, parseWithDefaults, readSource } from '../document.ts';
import { ConfigError, type Problem } from '../problem.ts';
import type { Source } from '../source.ts';
import { withAbsolutePaths } from './absolute-paths.ts';
import { adminTokenOf } from './admin-token.ts';
import {
  ignoredVariables,
  unknownVariables,
  withoutEmpty,
  type Environment,
} from './environment.ts';
import { exposureProblems, weaknesses } from './exposure.ts';
import { settingsSchema, type Settings } from './settings-schema.ts';
import { withVariables } from './variables.ts';

/** Settings with the paths of their files made absolute. */
export interface LoadedSettings {
  readonly file: string;
  readonly settings: Settings;
  /** The operator's token; no value of the settings, so that nothing prints it. */
  readonly adminToken: string | undefined;
  readonly warnings: readonly string[];
  /** They end with the mark `...`: then each file that they name must, too. */
  readonly isEnded: boolean;
  /** Files that are needed to decide, are not named, and are not where they are looked for; empty: none. */
  readonly unnamed: readonly Problem[];
}

/**
 * Reads the settings: the file named on the command line, else by POSTERN_CONFIG, else `config/postern.yaml`
 * here, else the one that comes with Postern.
 * @throws ConfigError
 */
export function loadSettings(
  fromArguments: string | undefined,
  given: Environment,
  packageRoot: string,
): LoadedSettings {
  const environment = withoutEmpty(given);
  const file = settingsFile(fromArguments ?? environment['POSTERN_CONFIG'], packageRoot);
  const source = readSource(file);
  // An empty file is every default.
  const usable = source.value === null ? parseSource(file, '{}') : source;
  const parsed = parseWithDefaults(usable, settingsSchema);
  const conflicts = conflictsOf(usable, parsed, environment);
  if (conflicts.length > 0) throw new ConfigError(conflicts);
  const settings = withVariables(withAbsolutePaths(parsed, dirname(file)), environment, usable);
  const adminToken = adminTokenOf(settings, environment);
  const exposed = exposureProblems(settings, adminToken !== undefined, usable);
  if (exposed.length > 0) throw new ConfigError(exposed);
  return {
    file,
    settings: deepFreeze(settings),
    unnamed: unnamedFiles(usable, parsed, dirname(file)),
    adminToken,
    isEnded: source.isEnded,
    warnings: [
      ...unknownVariables(environment),
      ...ignoredVariables(environment, settings),
      ...weaknesses(settings, adminToken),
    ],
  };
}

/** Settings that contradict each other. */
function conflictsOf(source: Source, settings: Settings, environment: Environment): Problem[] {
  const problems: Problem[] = [];
  const stored = environment['POSTERN_STORE'] ?? settings.store;
  for (const [path, message] of auditProblems(settings.audit, stored, settings.workers))
    problems.push(source.problem(['audit', ...path], message));
  if (settings.facts.heartbeat_ms >= settings.facts.max_staleness_ms)
    problems.push(
      source.problem(
        ['facts', 'heartbeat_ms'],
        'is not below max_staleness_ms: facts would go stale between two looks',
      ),
    );
  // A compressed message counts as it travels, and for the most that it may inflate to.
  const largest = settings.grpc.max_message_bytes * (settings.grpc.compression.length > 0 ? 2 : 1);
  if (settings.limits.receiving_bytes < largest)
    problems.push(
      source.problem(
        ['limits', 'receiving_bytes'],
        `has no room for one message of grpc.max_message_bytes: give ${largest} or more`,
      ),
    );
  return problems;
}

/** Files that the settings do not name, and that are not where they are looked for without a name. */
function unnamedFiles(source: Source, settings: Settings, directory: string): Problem[] {
  const { value } = source;
  return (['catalog', 'default_roles'] as const)
    .filter((key) => typeof value === 'object' && value !== null && !Object.hasOwn(value, key))
    .filter((key) => !existsSync(join(directory, settings[key])))
    .map((key) =>
      source.problem(
        [key],
        `is not in these settings, and \`${settings[key]}\` is not in their directory: name the file, as \`${key}: path/to/${settings[key]}\`; Postern's own is in its \`config\` directory`,
      ),
    );
}

function settingsFile(named: string | undefined, packageRoot: string): string {
  if (named !== undefined) return resolve(named);
  const here = resolve('config/postern.yaml');
  return existsSync(here) ? here : join(packageRoot, 'config/postern.yaml');
}

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null) {
    Object.values(value).forEach(deepFreeze);
    Object.freeze(value);
  }
  return value;
}
