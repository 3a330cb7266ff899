/** The files that may change while the server runs: read as one, so that a bad one leaves all of the last in force. */
import { parseCatalog } from './config/catalog.ts';
import { readSource } from './config/document.ts';
import { ConfigError } from './config/problem.ts';
import { parseRoutes } from './config/routes.ts';
import type { Settings } from './config/settings.ts';
import type { Catalog } from './engine/action.ts';
import { compile, type CompiledRoutes } from './transport/ext-authz/methods.ts';

export interface InForce {
  readonly catalog: Catalog;
  /** `undefined`: Envoy is not answered. */
  readonly routes: CompiledRoutes | undefined;
}

/** @throws ConfigError with everything that is wrong */
export function readInForce(settings: Settings): InForce {
  const catalog = parseCatalog(readSource(settings.catalog));
  return {
    catalog,
    routes: settings.routes === undefined ? undefined : readRoutes(settings.routes, catalog),
  };
}

function readRoutes(file: string, catalog: Catalog): CompiledRoutes {
  const source = readSource(file);
  const routes = parseRoutes(source, catalog);
  try {
    return compile(routes);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    throw new ConfigError([source.problem(['routes'], `cannot stand together: ${message}`)]);
  }
}
