/** `postern validate DIR`: every YAML and JSON file of a directory, checked and linted as the loader would. */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { lintMigrations } from '../../admin/migrations/migration-lint.ts';
import { toFacts } from '../../admin/state/to-facts.ts';
import { fromDefaults } from '../../admin/state/tenant-facts.ts';
import { parseCatalog } from '../../config/catalog.ts';
import { parseAs, readSource } from '../../config/document.ts';
import type { Source } from '../../config/source.ts';
import { kindOf, SCHEMAS, type FileKind } from '../../config/kinds.ts';
import { missingEnds } from '../../config/ends.ts';
import { lintPolicySet } from '../../config/lint.ts';
import { migrationFiles, parseMigration } from '../../config/migration.ts';
import { parsePolicySet } from '../../config/policy-set.ts';
import { ConfigError, formatProblem, type Problem } from '../../config/problem.ts';
import { parseRoutes } from '../../config/routes.ts';
import { parseDefaultRoles, type DefaultRole } from '../../config/roles.ts';
import { scanFiles } from '../../config/scan.ts';
import { withAbsolutePaths } from '../../config/settings/absolute-paths.ts';
import { lintState, parseState, refused } from '../../config/state.ts';
import type { Catalog } from '../../engine/action.ts';
import { systemSentence } from '../../util/system-error.ts';
import { loadSuite } from '../../offline/policy-tests.ts';
import { CliError, EXIT, paint, print, type Format } from '../kit/output.ts';

export interface ValidateOptions {
  readonly output: Format;
  readonly packageRoot: string;
  /** A file that does not tell where it ends is refused. */
  readonly requireEnd?: boolean | undefined;
}

interface Checked {
  readonly file: string;
  readonly kind: FileKind | 'unknown';
  readonly problems: readonly Problem[];
}

/** Exit code 1: a file is refused. Warnings alone leave it at 0. */
export async function validate(directory: string, options: ValidateOptions): Promise<number> {
  const sources = yamlFiles(directory).map(read);
  if (sources.length === 0) throw new CliError(`no file of Postern's in \`${directory}\``);
  const context = contextOf(directory, sources, options.packageRoot);
  const results = sources.map((source) => check(source, context));
  const problems = [
    ...results.flatMap((result) => result.problems),
    ...endProblems(sources, options.requireEnd === true),
    ...migrationWarnings(directory, sources, context),
  ];
  const errors = problems.filter(({ severity }) => severity === 'error').length;
  print(options.output, { files: results.length, errors, problems }, () =>
    [
      ...problems.map(formatProblem),
      ...results
        .filter((result) => result.problems.every(({ severity }) => severity === 'warning'))
        .map(({ file, kind }) => `${paint('green', 'ok')} ${file} (${kind})`),
      `${results.length} file(s), ${errors} error(s), ${problems.length - errors} warning(s)`,
    ].join('\n'),
  );
  return errors === 0 ? EXIT.ok : EXIT.refused;
}

/** All files below a directory that may be Postern's, in a stable order. @throws CliError where there is none to read */
export function yamlFiles(directory: string): readonly string[] {
  // Standard input.
  if (directory === '-') return ['-'];
  if (!existsSync(directory))
    throw new CliError(
      `\`${directory}\` cannot be read: ${systemSentence('ENOENT') ?? 'it is not there'}`,
    );
  return scanFiles(directory);
}

type Read = Source | ConfigError;

/** Files that may have been cut off: each without its end, where that is asked for, and those that settings vouch for. */
function endProblems(sources: readonly Read[], requireEnd: boolean): readonly Problem[] {
  const readable = sources.filter((source): source is Source => !(source instanceof ConfigError));
  const open = requireEnd ? readable.filter(({ isEnded, isBraced }) => !isEnded && !isBraced) : [];
  const told = new Set(open.map(({ file }) => file));
  const vouched = readable
    .filter(({ value, isEnded }) => isEnded && kindOf(value) === 'postern')
    .flatMap(({ file, value }) => {
      const settings = SCHEMAS.postern.safeParse(value).data;
      return settings === undefined ? [] : missingEnds(withAbsolutePaths(settings, dirname(file)));
    });
  return [
    ...open.map((source) =>
      source.problem(
        [],
        'may be cut off: it does not tell where it ends: write it whole, with `...` as its last line (--require-end)',
      ),
    ),
    ...vouched.filter(({ file }) => !told.has(file)),
  ];
}

/** What default roles of its own and migrations of a directory say of each other. */
function migrationWarnings(
  directory: string,
  sources: readonly Read[],
  { defaults }: Context,
): readonly Problem[] {
  const ofKind = (kind: FileKind): Source[] =>
    sources.filter(
      (source): source is Source =>
        !(source instanceof ConfigError) && kindOf(source.value) === kind,
    );
  const own = ofKind('roles').some(({ file }) => file === join(directory, 'roles.yaml'));
  return own ? lintMigrations(ofKind('migration'), defaults) : [];
}

function read(file: string): Read {
  try {
    return readSource(file);
  } catch (error) {
    if (error instanceof ConfigError) return error;
    throw error;
  }
}

export interface Context {
  readonly catalog: Catalog;
  readonly defaults: readonly DefaultRole[];
}

/** The catalog and default roles that stand in the directory, else those that come with Postern. */
export function contextOf(
  directory: string,
  sources: readonly Read[],
  packageRoot: string,
): Context {
  const find = <T>(kind: FileKind, name: string, parse: (source: Source) => T): T => {
    const at = join(directory, name);
    const own = sources.find(
      (source) =>
        !(source instanceof ConfigError) && source.file === at && kindOf(source.value) === kind,
    );
    const fallback = (): T => parse(readSource(join(packageRoot, 'config', name)));
    if (own === undefined || own instanceof ConfigError) return fallback();
    try {
      return parse(own);
    } catch {
      // The file's own errors are told where the file is checked.
      return fallback();
    }
  };
  return {
    catalog: find('actions', 'actions.yaml', parseCatalog),
    defaults: find('roles', 'roles.yaml', parseDefaultRoles),
  };
}

function check(source: Read, context: Context): Checked {
  if (source instanceof ConfigError)
    return { file: source.problems[0]?.file ?? '', kind: 'unknown', problems: source.problems };
  const { file } = source;
  const kind = kindOf(source.value);
  if (kind === undefined) {
    const sections = 'policy_set, tenant, actions, roles, tests, migration or settings';
    const problem = source.problem(
      [],
      `is none of Postern's files: its top level has none of ${sections}`,
    );
    return { file, kind: 'unknown', problems: [problem] };
  }
  try {
    return { file, kind, problems: warningsOf(kind, source, context) };
  } catch (error) {
    if (error instanceof ConfigError) return { file, kind, problems: error.problems };
    throw error;
  }
}

/** @throws ConfigError where the file is refused */
function warningsOf(kind: FileKind, source: Source, context: Context): readonly Problem[] {
  const { catalog, defaults } = context;
  switch (kind) {
    case 'actions':
      parseCatalog(source);
      return [];
    case 'roles':
      parseDefaultRoles(source);
      return [];
    case 'policy-set':
      return lintPolicySet(source, ['policy_set'], parsePolicySet(source, catalog), catalog);
    case 'state': {
      const state = parseState(source, catalog);
      const built = toFacts(state, fromDefaults(defaults));
      if ('findings' in built) throw refused(source, built.findings);
      return lintState(source, state, catalog);
    }
    case 'policy-test':
      loadSuite(source, catalog, defaults);
      return [];
    case 'routes':
      parseRoutes(source, catalog);
      return [];
    case 'migration':
      parseMigration(source);
      // Its name is part of what it says.
      return migrationFiles(dirname(source.file)).problems.filter(
        ({ file }) => file === source.file,
      );
    case 'postern':
      parseAs(source, SCHEMAS.postern);
      return [];
  }
}
