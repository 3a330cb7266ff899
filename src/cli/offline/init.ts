/** `postern init`: a first tenant with a first owner, and a token for it, on the store that the settings name. */
import { OPERATOR } from '../../admin/actor.ts';
import { Refused } from '../../admin/refused.ts';
import { createTenant } from '../../admin/rules/tenants.ts';
import { createSession } from '../../admin/rules/sessions.ts';
import { write } from '../../admin/write.ts';
import { idProblem } from '../../engine/id.ts';
import { UnknownOutcomeError } from '../../store/store.ts';
import { parseDuration } from '../kit/arguments.ts';
import { environmentOf, loadConfiguration, withStore } from '../kit/configuration.ts';
import { CliError, EXIT, visible, type Format } from '../kit/output.ts';
import { reportSecret } from '../kit/results.ts';

export interface InitOptions {
  readonly output: Format;
  readonly packageRoot: string;
  readonly tenant?: string;
  readonly admin: string;
  readonly config?: string;
  readonly ttl?: string;
}

/** What the rule answers. */
interface Created {
  readonly session: { readonly id: string; readonly expires_at: string };
  readonly token: string;
}

/** Exit code 1: the tenant exists already. */
export async function init(options: InitOptions): Promise<number> {
  const { tenant, admin, output } = options;
  if (tenant === undefined)
    throw new CliError('no tenant: give --tenant NAME, or set POSTERN_TENANT');
  mustBeId('--tenant', tenant);
  mustBeId('--admin', admin);
  const ttl = options.ttl === undefined ? 0 : parseDuration('--ttl', options.ttl);
  const configuration = loadConfiguration(options.config, options.packageRoot);
  return withStore(configuration, 'create', async (store) => {
    const { revision, consistency_token, result, body } = await write(
      environmentOf(configuration, store),
      {
        tenant,
        name: 'tenant.init',
        actor: OPERATOR,
        options: { dry_run: false, idempotency_key: '', expected_revision: 0 },
        request: undefined,
        creates: true,
        // In one commit: a tenant without a token for its owner could not be done again.
        rule: (context) => {
          createTenant(context, { owner: admin });
          return createSession(context, { user: `user:${admin}`, ttl_seconds: ttl });
        },
      },
    ).catch((error: unknown) => {
      throw explained(tenant, error);
    });
    // The rule's own answer.
    const { session, token } = body as Created;
    const answer = {
      revision: String(revision),
      consistency_token,
      result,
      tenant,
      user: admin,
      session,
      token,
    };
    reportSecret(
      output,
      answer,
      token,
      {
        what: `tenant ${tenant}`,
        done: 'created',
        also: visible(`${admin} is its owner, with a session until ${session.expires_at}`),
      },
      'token',
    );
    process.stderr.write(
      `note: commands that manage a running server (\`admin.enabled: true\`) take it from POSTERN_TOKEN:\n  export POSTERN_TENANT=${quoted(tenant)} POSTERN_TOKEN=…\n`,
    );
    return EXIT.ok;
  });
}

function mustBeId(option: string, value: string): void {
  const problem = idProblem(value);
  if (problem !== undefined) throw new CliError(`${option}: \`${visible(value)}\` ${problem}`);
}

function explained(tenant: string, error: unknown): unknown {
  if (error instanceof Refused)
    return new CliError(
      error.kind === 'already_exists' && error.message.startsWith('tenant ')
        ? `${error.message}: its owners manage it, and the operator's token (POSTERN_ADMIN_TOKEN) makes sessions by \`postern session create\``
        : error.message,
      EXIT.refused,
    );
  if (error instanceof UnknownOutcomeError)
    return new CliError(
      `${error.message}; look by \`postern export --tenant ${quoted(tenant)}\`: where the tenant is there, its token is lost, and the operator's makes another by \`postern session create\``,
    );
  return error;
}

/** As a shell takes it. */
function quoted(text: string): string {
  return /^[\w.@-]+$/.test(text) ? text : `'${visible(text).replaceAll("'", `'\\''`)}'`;
}
