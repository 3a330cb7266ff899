/** `postern check --offline`: decisions from files, in the place of those of a server. */
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { ServiceDefinition } from '@grpc/proto-loader';
import { parseCatalog } from '../../config/catalog.ts';
import { readSource } from '../../config/document.ts';
import { ConfigError } from '../../config/problem.ts';
import { parseDefaultRoles } from '../../config/roles.ts';
import { staticFacts } from '../../offline/static-facts.ts';
import { offlineMethods } from '../../offline/methods.ts';
import { statesOf } from './candidate.ts';
import { loadProto, type DecisionClient } from '../kit/client.ts';
import { loadConfiguration, type Configuration } from '../kit/configuration.ts';
import { CliError, visible } from '../kit/output.ts';

export interface OfflineFiles {
  /** A directory with `postern.yaml`, or with `actions.yaml` and `roles.yaml`; or a settings file. */
  readonly config?: string | undefined;
  /** State files, each of another tenant. */
  readonly state: readonly string[];
  readonly packageRoot: string;
}

export interface OfflineClient {
  readonly client: DecisionClient;
  /** The tenant of the one state file; `undefined`: there are several. */
  readonly tenant: string | undefined;
}

/** How long an answer may take, ms: Explain stops then. */
const TIMEOUT_MS = 10_000;
const SERVICE = 'postern.v1.AuthorizationService';

/** @throws ConfigError, CliError where a file is refused: the exit code is never that of a denial */
export function openOffline(files: OfflineFiles): OfflineClient {
  try {
    return openFiles(files);
  } catch (error) {
    throw error instanceof ConfigError ? new ConfigError(error.problems) : error;
  }
}

function openFiles(files: OfflineFiles): OfflineClient {
  if (files.state.length === 0)
    throw new CliError('--offline: no facts are given: give --state FILE');
  const configuration = configurationOf(files);
  const { catalog, settings } = configuration;
  const { limits } = settings;
  const states = statesOf(configuration, files.state);
  const methods = offlineMethods({
    tenants: new Map(
      [...states].map(([tenant, facts]) => [tenant, staticFacts(tenant, facts, catalog)]),
    ),
    limits: {
      checksPerBatch: limits.checks_per_batch,
      objectsPerFilter: limits.objects_per_filter,
      attributesPerResource: limits.attributes_per_resource,
      valuesPerAttribute: limits.values_per_attribute,
      sourcesPerResource: limits.sources_per_resource,
      valuesPerResource: limits.values_per_resource,
    },
    now: Date.now,
  });
  // The proto file has a service of this name.
  const codecs = loadProto('AuthorizationService', files.packageRoot)[SERVICE] as ServiceDefinition;
  const call = async <T>(name: string, request: object): Promise<T> => {
    const method = methods[`/${SERVICE}/${name}`];
    const codec = codecs[name];
    if (method === undefined || codec === undefined) throw new Error(`no method ${name}`);
    try {
      const answer = await method(codec.requestSerialize(request), TIMEOUT_MS);
      // The codec has made it from the proto file.
      return codec.responseDeserialize(answer) as T;
    } catch (error) {
      // What a server would answer with: `INVALID_ARGUMENT` and its like.
      throw error instanceof Error && 'code' in error ? new CliError(error.message) : error;
    }
  };
  const [only] = states.size === 1 ? states.keys() : [];
  return {
    tenant: only,
    client: {
      check: (request) => call('Check', request),
      explain: (request) => call('Explain', request),
      batchCheck: (request) => call('BatchCheck', request),
      filter: (request) => call('Filter', request),
      close: () => {},
    },
  };
}

type Files = Pick<Configuration, 'catalog' | 'defaults' | 'settings'>;

/** Of a directory, the files that are there by their names; else what every command takes. */
function configurationOf({ config, packageRoot }: OfflineFiles): Files {
  if (config === undefined || !existsSync(config) || !statSync(config).isDirectory())
    return loadConfiguration(config, packageRoot);
  const settings = join(config, 'postern.yaml');
  if (existsSync(settings)) return loadConfiguration(settings, packageRoot);
  const own = (name: string): string | undefined => {
    const file = join(config, name);
    return existsSync(file) ? file : undefined;
  };
  const actions = own('actions.yaml');
  const roles = own('roles.yaml');
  if (actions === undefined && roles === undefined)
    throw new CliError(
      `--config: \`${visible(config)}\` has none of postern.yaml, actions.yaml and roles.yaml: name the directory that has`,
    );
  const defaults = loadConfiguration(undefined, packageRoot);
  return {
    settings: defaults.settings,
    catalog: actions === undefined ? defaults.catalog : parseCatalog(readSource(actions)),
    defaults: roles === undefined ? defaults.defaults : parseDefaultRoles(readSource(roles)),
  };
}
