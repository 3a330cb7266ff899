/** The parts of a server between its store and its transports, opened in the order in which they need each other. */
import type { Logger } from 'pino';
import type { Baseline } from '../admin/migrations/baseline.ts';
import type { Redact } from '../audit/record/redact.ts';
import type { AuditLog } from '../audit/log.ts';
import { openRefusals, type Refusals } from '../audit/record/refusals.ts';
import type { DefaultRole } from '../config/roles.ts';
import type { CredentialProblem } from '../engine/credential-problem.ts';
import type { FactsRoom } from '../facts/facts.ts';
import { steadyNow } from '../identity/clock.ts';
import { openIdentity, type Identity } from '../identity/identity.ts';
import type { JwtVerifier } from '../identity/jwt.ts';
import { openUsage, type Usage } from '../identity/usage.ts';
import { keepUsage } from '../identity/usage-writer.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import type { Tracing } from '../telemetry/tracing.ts';
import type { Health } from '../transport/grpc/health.ts';
import type { MemoryWatch } from '../util/memory.ts';
import { openAdministration, type AdminListener } from './administration.ts';
import { watchCaches, type Cache } from './caches.ts';
import { credentialLogger, errorLogger } from './loggers.ts';
import { openTraces, reportOldIds } from './optional-parts.ts';
import type { ReloadableFiles } from './reload.ts';
import type { InForce } from './reloadable.ts';
import type { ServerOptions } from './running.ts';
import type { Shutdown } from './shutdown.ts';
import type { WatchedFacts } from './watched-facts.ts';

/** What all transports share. */
export interface Parts {
  readonly facts: FactsRoom;
  readonly metrics: Metrics;
  readonly audit: AuditLog;
  readonly redact: Redact | undefined;
  /** Records callers that are not known. */
  readonly refusals: Refusals;
  readonly health: Health;
  readonly identity: Identity;
  readonly usage: Usage;
  readonly inForce: () => InForce;
  /** `undefined`: traces are off. */
  readonly tracing: Tracing | undefined;
  /** AdminService, where it is enabled. */
  readonly management: AdminListener | undefined;
  readonly memory: MemoryWatch;
  /** Emptied for want of memory. */
  readonly caches: Cache[];
  readonly onTls: (error: unknown) => void;
  readonly onCredential: (problem: CredentialProblem, via: string) => void;
  readonly onError: (error: unknown) => void;
}

/** What is there before them. */
export interface Foundation extends WatchedFacts {
  readonly audit: AuditLog;
  readonly redact: Redact | undefined;
  readonly health: Health;
  /** `undefined`: no issuer is trusted. */
  readonly jwt: JwtVerifier | undefined;
  readonly reloadable: ReloadableFiles;
  readonly defaults: readonly DefaultRole[];
  readonly baseline: Baseline;
  readonly onError: (error: unknown) => void;
}

export async function openParts(
  options: ServerOptions,
  foundation: Foundation,
  shutdown: Shutdown,
  log: Logger,
): Promise<Parts> {
  const { settings } = options;
  const {
    facts,
    metrics,
    store,
    audit,
    redact,
    health,
    jwt,
    reloadable,
    defaults,
    baseline,
    onError,
  } = foundation;
  const identity = openIdentity({ jwt, now: steadyNow });
  const usage = openUsage(steadyNow);
  const refusals = openRefusals(audit, redact);
  shutdown.add(() => refusals.close());
  const caches: Cache[] = [{ empty: () => facts.shed(), bytes: () => facts.stats().bytes }];
  const memory = watchCaches(settings, caches, metrics, log);
  shutdown.add(() => memory.close());
  const tracing = await openTraces(options, audit.instance, log);
  shutdown.add(() => tracing?.close());
  const common = { audit, redact, identity, metrics, onError };
  const catalog = () => reloadable.inForce.catalog;
  const stored = { store, catalog, defaults, baseline };
  const management = await openAdministration(options, { ...stored, ...common });
  shutdown.add(reportOldIds(options, store, log));
  const onUsage = errorLogger(log, 'when keys were last used could not be written');
  shutdown.add(keepUsage(store, usage, settings.identity.usage_interval_ms, onUsage));
  return {
    ...common,
    facts,
    refusals,
    health,
    usage,
    inForce: () => reloadable.inForce,
    tracing,
    management,
    memory,
    caches,
    onTls: errorLogger(
      log,
      'TLS: a certificate is out of its time, or new TLS files are not taken up and the last good ones serve',
    ),
    onCredential: credentialReporter(metrics, log),
  };
}

function credentialReporter(metrics: Metrics, log: Logger): Parts['onCredential'] {
  const report = credentialLogger(log);
  return (problem, via) => {
    metrics.credential(problem);
    report(problem, via);
  };
}
