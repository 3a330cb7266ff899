/** The files that may change while the server runs: read as one, so that a bad one leaves all of the last in force. */
import { parseCatalog } from '../config/catalog.ts';
import { readSource } from '../config/document.ts';
import type { Source } from '../config/source.ts';
import { ConfigError } from '../config/problem.ts';
import { parseRoutes, type RoutesFile } from '../config/routes.ts';
import type { Settings } from '../config/settings/settings-schema.ts';
import { catalogWidening } from '../config/widening.ts';
import type { Catalog } from '../engine/action.ts';
import { compile, type CompiledRoutes } from '../transport/ext-authz/methods.ts';

export interface InForce {
  readonly catalog: Catalog;
  /** `undefined`: Envoy is not answered. */
  readonly routes: CompiledRoutes | undefined;
  /** What was read, for the log and for the next reading. */
  readonly files: readonly ReadFile[];
  /** What the routes file lists, `GET /v1/threads`. */
  readonly routed: readonly string[];
}

interface ReadFile {
  readonly file: string;
  readonly sha256: string;
  /** It ends with the mark `...`. */
  readonly ended: boolean;
}

/**
 * @param last what is in force: a file that had the mark `...` at its end must have it again, or it was cut off
 * @throws ConfigError with everything that is wrong
 */
export function readInForce(settings: Settings, last?: InForce): InForce {
  const files: ReadFile[] = [];
  const read = (file: string): Source => {
    const source = readSource(file);
    const { digest: sha256, isEnded: ended } = source;
    const before = last?.files.find((one) => one.file === file);
    if (before?.ended === true && !ended)
      throw new ConfigError([
        source.problem(
          [],
          'is cut off: the file in force ends with `...`, this one does not: write it whole, with `...` as its last line',
        ),
      ]);
    files.push({ file, sha256, ended });
    return source;
  };
  const catalog = parseCatalog(read(settings.catalog));
  if (settings.routes === undefined) return { catalog, routes: undefined, files, routed: [] };
  return { catalog, ...readRoutes(read(settings.routes), catalog), files };
}

function readRoutes(
  source: Source,
  catalog: Catalog,
): Pick<InForce, 'routed'> & { readonly routes: CompiledRoutes } {
  const routes = parseRoutes(source, catalog);
  try {
    return { routes: compile(routes), routed: routesOf(routes) };
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    throw new ConfigError([source.problem(['routes'], `cannot stand together: ${message}`)]);
  }
}

/** Every route as text: its request, and what it asks. */
function routesOf({ routes }: RoutesFile): string[] {
  return routes.map((route) => JSON.stringify(route));
}

/** Differences that are listed of one reload. */
const MAX_LISTED = 20;

export interface Widening {
  /** The first twenty, each a sentence. */
  readonly listed: readonly string[];
  /** All of them; 0: nothing more is allowed. */
  readonly count: number;
}

/** What the files that were read again allow that those before did not; a route that is gone may leave its requests to a wider one. */
export function wideningOf(before: InForce, after: InForce): Widening {
  const kept = new Set(after.routed);
  const had = new Set(before.routed);
  const all = [
    ...catalogWidening(before.catalog, after.catalog),
    ...before.routed.filter((route) => !kept.has(route)).map((route) => `route is gone: ${route}`),
    ...after.routed.filter((route) => !had.has(route)).map((route) => `route is new: ${route}`),
  ];
  return { listed: all.slice(0, MAX_LISTED), count: all.length };
}
