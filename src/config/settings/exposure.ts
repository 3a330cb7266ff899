/** Listeners that others can reach: what must protect them, and what is weak. */
import type { Problem } from '../problem.ts';
import type { Source } from '../source.ts';
import { SHORT_TOKEN } from './admin-token.ts';
import type { Settings } from './settings-schema.ts';

/** What is allowed and weak, for a log. */
export function weaknesses({ grpc }: Settings, adminToken: string | undefined): string[] {
  const warnings: string[] = [];
  if (adminToken !== undefined && adminToken.length < SHORT_TOKEN)
    warnings.push(`the admin token is short: give ${SHORT_TOKEN} random characters or more`);
  const open = grpc.callers.length === 0 && grpc.tls.client_ca === undefined;
  if (!isLocal(grpc.address) && open)
    warnings.push(
      `anyone who can connect to \`${grpc.address}\` may ask: set \`grpc.tls.client_ca\` or \`grpc.callers\``,
    );
  return warnings;
}

/** Half an authentication is none, and a secret in the clear is none either. */
export function exposureProblems(
  { grpc, http, admin }: Settings,
  hasAdminToken: boolean,
  source: Source,
): Problem[] {
  const { cert, key, client_ca: clientCa } = grpc.tls;
  const problems: Problem[] = [];
  const problem = (path: readonly PropertyKey[], message: string): void => {
    problems.push(source.problem(path, message));
  };
  if ((cert === undefined) !== (key === undefined))
    problem(['grpc', 'tls'], 'has one of `cert` and `key`: give both');
  if (clientCa !== undefined && cert === undefined)
    problem(['grpc', 'tls', 'client_ca'], 'also needs `cert` and `key`');
  const plain = cert === undefined && !isLocal(grpc.address);
  if (plain && (admin.enabled || hasAdminToken))
    problem(
      ['grpc', 'address'],
      `\`${grpc.address}\` is not a loopback address, and AdminService is enabled there without TLS: set \`grpc.tls\`, or listen on 127.0.0.1`,
    );
  if (plain && grpc.callers.length > 0)
    problem(
      ['grpc', 'callers'],
      `send their tokens in the clear to \`${grpc.address}\`: set \`grpc.tls\`, or listen on 127.0.0.1`,
    );
  for (const [section, { address, socket_mode: mode }] of Object.entries({ grpc, http }))
    if (mode !== undefined && !address.startsWith('unix:'))
      problem(
        [section, 'socket_mode'],
        `is for unix sockets, and \`${address}\` is not one: omit it, or listen on unix:/path`,
      );
  const names = grpc.callers.map(({ name }) => name);
  for (const [index, name] of names.entries())
    if (names.indexOf(name) !== index)
      problem(['grpc', 'callers', index], `\`${name}\` is listed twice: keep one`);
  return problems;
}

/** Only processes of this machine can connect. */
function isLocal(listening: string): boolean {
  return /^(unix:|127(\.\d{1,3}){3}:|localhost:|\[::1\]:)/.test(listening);
}
