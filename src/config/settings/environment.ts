/** Environment variables: those of Postern, and those of others that one could think it reads. */
import { suggest } from '../problem.ts';
import type { Settings } from './settings-schema.ts';

export type Environment = Readonly<Record<string, string | undefined>>;

const KNOWN = [
  'POSTERN_CONFIG',
  'POSTERN_GRPC_ADDRESS',
  'POSTERN_HTTP_ADDRESS',
  'POSTERN_STORE',
  'POSTERN_LOG_LEVEL',
  'POSTERN_ADMIN_TOKEN',
  // Read by the commands that talk to a server.
  'POSTERN_ADDRESS',
  'POSTERN_TENANT',
  'POSTERN_TOKEN',
  'POSTERN_AS',
] as const;

/** What Kubernetes gives every container beside a service that is called `postern…`. */
const OF_KUBERNETES = /^POSTERN_(.*_)?(SERVICE_(HOST|PORT)(_.*)?|PORT(_\d+_.*)?)$/;

/** An empty variable of ours is as if unset. */
export function withoutEmpty(environment: Environment): Environment {
  return Object.fromEntries(
    Object.entries(environment).filter(
      ([name, value]) => !(name.startsWith('POSTERN_') && value === ''),
    ),
  );
}

/** A misspelt variable would be ignored silently. */
export function unknownVariables(environment: Environment): string[] {
  return Object.keys(environment)
    .filter((name) => name.startsWith('POSTERN_') && !KNOWN.some((known) => known === name))
    .filter((name) => !OF_KUBERNETES.test(name))
    .map((name) => `unknown environment variable ${name}${suggest(name, KNOWN)}`);
}

/** Variables by which others are set up, and that have no effect here. */
export function ignoredVariables(environment: Environment, settings: Settings): string[] {
  return [...openTelemetry(environment, settings), ...proxies(environment, settings)];
}

/** Read by the exporter itself; the rest of OpenTelemetry's variables is a setting here. */
const READ_BY_EXPORTER =
  /^OTEL_EXPORTER_OTLP_(TRACES_)?(HEADERS|TIMEOUT|COMPRESSION|CERTIFICATE|CLIENT_CERTIFICATE|CLIENT_KEY)$/;

function openTelemetry(environment: Environment, { tracing }: Settings): string[] {
  const names = Object.keys(environment).filter(
    (name) => name.startsWith('OTEL_') && (environment[name] ?? '') !== '',
  );
  if (names.length === 0) return [];
  if (!tracing.enabled)
    return [`${names.join(', ')}: without effect, traces are off: set \`tracing.enabled\``];
  const ignored = names.filter((name) => !READ_BY_EXPORTER.test(name));
  return ignored.length === 0
    ? []
    : [
        `${ignored.join(', ')}: without effect: set \`tracing.endpoint\`, \`tracing.sample_ratio\` and \`tracing.service_name\``,
      ];
}

const PROXIES = ['HTTP_PROXY', 'HTTPS_PROXY', 'http_proxy', 'https_proxy'];

/** Node uses proxies where a variable or flag enables it, and so do all HTTP requests of Postern. */
function proxies(environment: Environment, { identity, audit, tracing }: Settings): string[] {
  const names = PROXIES.filter((name) => (environment[name] ?? '') !== '');
  const asks =
    tracing.enabled ||
    identity.jwt.some(({ jwks_url: url }) => url !== undefined) ||
    audit.sinks.some(({ type }) => type === 'http');
  const used =
    environment['NODE_USE_ENV_PROXY'] === '1' ||
    /(^|\s)--use-env-proxy(\s|$)/.test(environment['NODE_OPTIONS'] ?? '');
  return names.length === 0 || !asks || used
    ? []
    : [
        `${names.join(', ')}: without effect on keys of issuers, audit and traces: set NODE_USE_ENV_PROXY=1`,
      ];
}
