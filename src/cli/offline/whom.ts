/** Who answers a question of the command line: a running server, or files. */
import { callerHeaders } from '../kit/admin-client.ts';
import { connect, type ConnectionOptions, type DecisionClient } from '../kit/client.ts';
import { CliError } from '../kit/output.ts';

export interface WhomOptions extends ConnectionOptions {
  readonly tenant: string | undefined;
  /** Of the caller, where the server asks for one. */
  readonly token?: string;
  readonly tokenFile?: string;
  /** Ask no server: decide on the facts of `state` by the catalog of `config`. */
  readonly offline?: boolean;
  readonly config?: string;
  readonly state?: readonly string[];
  /** Of a store's history: files have none. */
  readonly minRevision?: string;
  readonly consistencyToken?: string;
}

export interface Asked {
  readonly client: DecisionClient;
  readonly tenant: string;
}

/** @throws CliError, ConfigError where options do not go together or files are refused */
export async function openAsked(options: WhomOptions): Promise<Asked> {
  const { offline = false, config, state = [], minRevision, consistencyToken } = options;
  if (!offline) {
    if (config !== undefined || state.length > 0)
      throw new CliError(
        '--config and --state: a server has its own settings and state: also give --offline',
      );
    return {
      tenant: tenantOf(options.tenant),
      client: connect(options, callerHeaders(options)),
    };
  }
  if (minRevision !== undefined || consistencyToken !== undefined)
    throw new CliError(
      '--offline: files have no history: leave --min-revision and --consistency-token out',
    );
  const { openOffline } = await import('./offline-client.ts');
  const { client, tenant: own } = openOffline({ config, state, packageRoot: options.packageRoot });
  return { client, tenant: tenantOf(options.tenant ?? own) };
}

function tenantOf(tenant: string | undefined): string {
  if (tenant === undefined)
    throw new CliError('no tenant: give --tenant NAME, or set POSTERN_TENANT');
  return tenant;
}
