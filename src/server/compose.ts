/** The composition root: settings → store, facts, service, audit, transports. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { Baseline } from '../admin/migrations/baseline.ts';
import type { AuditLog } from '../audit/log.ts';
import { readSource } from '../config/document.ts';
import { needEnds } from '../config/ends.ts';
import { loadMigrations } from '../config/migration.ts';
import { parseDefaultRoles, type DefaultRole } from '../config/roles.ts';
import type { Settings } from '../config/settings/settings-schema.ts';
import type { FactsRoom } from '../facts/facts.ts';
import type { JwtVerifier } from '../identity/jwt.ts';
import { createHealth } from '../transport/grpc/health.ts';
import { serveDecisions } from './decisions.ts';
import { cut, listen, type MetricsPlace } from './listeners.ts';
import { errorLogger, openLogger } from './loggers.ts';
import { trustIssuers } from './optional-parts.ts';
import { openParts } from './parts.ts';
import { ServerReadiness, type ReadinessSources } from './readiness.ts';
import { ReloadableFiles } from './reload.ts';
import type { Running, ServerOptions } from './running.ts';
import { Shutdown } from './shutdown.ts';
import { openRedaction, openServerAudit } from './sinks.ts';
import { createTenants, openServerStore, readStates, type InitialState } from './stores.ts';
import { keepSnapshot, restoreSnapshot, retryUntilWarm, warmUp } from './warm-up.ts';
import { openWatchedFacts } from './watched-facts.ts';

export type { Running, ServerOptions } from './running.ts';

/** The files that the settings name, read before anything is opened. */
interface Files {
  readonly reloadable: ReloadableFiles;
  readonly defaults: readonly DefaultRole[];
  readonly baseline: Baseline;
  readonly states: readonly InitialState[];
}

/** @throws ConfigError, StoreError or Error with what keeps it from starting */
export async function startServer(options: ServerOptions): Promise<Running> {
  const { settings, worker } = options;
  const log = openLogger(settings.log.level, worker);
  const files = readFiles(options);
  const shutdown = new Shutdown(settings.shutdown.grace_ms);
  try {
    return await compose(options, files, shutdown, log);
  } catch (error) {
    shutdown.begin();
    await shutdown.run();
    throw error;
  }
}

/** @throws ConfigError */
function readFiles({ settings, settingsEnded, states }: ServerOptions): Files {
  if (settingsEnded === true) needEnds(settings, states);
  const reloadable = new ReloadableFiles(settings);
  return {
    reloadable,
    defaults: parseDefaultRoles(readSource(settings.default_roles)),
    baseline: loadMigrations(settings.migrations),
    states: readStates(states, reloadable.inForce.catalog),
  };
}

async function compose(
  options: ServerOptions,
  files: Files,
  shutdown: Shutdown,
  log: Logger,
): Promise<Running> {
  const { settings } = options;
  const { defaults, baseline, reloadable } = files;
  const onError = errorLogger(log, 'an error was answered with a deny');
  const health = createHealth(() => readiness.hasIssuerKeys);
  const readiness: ServerReadiness = new ServerReadiness(
    settings.facts.max_staleness_ms,
    (serving) => health.set(serving),
  );
  // First of all: a server that cannot listen must not have stored anything.
  const place: MetricsPlace = { metrics: undefined };
  const listeners = await listen(options, readiness, place, log);
  shutdown.add(() => listeners.http?.close());
  shutdown.add(() => cut(listeners.connections));
  const store = await openServerStore(settings, log);
  shutdown.add(() => store.close());
  await createTenants(store, files.states, defaults, baseline);
  const audit = await openServerAudit(options, log);
  shutdown.add(() => audit.close(shutdown, log));
  const redact = openRedaction(settings);
  const gauges = { sinks: audit.log.sinks, ready: () => readiness.report().ready };
  const { catalog } = reloadable.inForce;
  const watched = openWatchedFacts(options, store, gauges, catalog, log, onError);
  const { facts, metrics } = watched;
  place.metrics = metrics;
  shutdown.add(() => facts.close());
  const tenants = await warmUp(facts, settings.store, log);
  const jwt = await trustIssuers(options, metrics, log);
  shutdown.add(() => jwt?.close());
  readiness.wait(readinessSources(settings, facts, audit.log, jwt));
  const foundation = { ...watched, audit: audit.log, redact, health, jwt, defaults, baseline };
  const parts = await openParts(options, { ...foundation, reloadable, onError }, shutdown, log);
  const grpc = await serveDecisions(options, parts, listeners.connections);
  shutdown.add(() => grpc.drain(Math.max(0, shutdown.leftMs() - shutdown.flushMs())));
  const becomeReady = (): void => readiness.serve();
  if (tenants !== undefined || restoreSnapshot(facts, settings, log)) becomeReady();
  if (tenants === undefined) shutdown.add(retryUntilWarm(facts, settings, becomeReady, log));
  shutdown.add(keepSnapshot(facts, settings, onError));
  return {
    addresses: { grpc: listeners.connections.address, http: listeners.http?.address ?? '' },
    tenants: tenants ?? [],
    waiting: !readiness.isServing,
    log,
    reload: () => reloadable.reload(facts, metrics, log),
    readiness: () => readiness.report(),
    snapshot: metrics.snapshot,
    cachedBytes: () => parts.caches.reduce((sum, cache) => sum + cache.bytes(), 0),
    lostRecords: () => audit.lostRecords,
    close: closeOnce(settings.shutdown.lame_duck_ms, readiness, shutdown),
  };
}

function readinessSources(
  { identity }: Settings,
  facts: FactsRoom,
  audit: AuditLog,
  jwt: JwtVerifier | undefined,
): ReadinessSources {
  return {
    factsAgeMs: () => facts.freshestMs(),
    storeAnswers: () => facts.storeUp(),
    historiesLost: () => facts.stats().historiesLost,
    auditIsOpen: () => audit.isOpen(),
    hasIssuerKeys: () => jwt?.hasKeys() ?? true,
    needsIssuerKeys: identity.jwt.some(({ required }) => required === true),
  };
}

/** Not ready at once, so that callers go elsewhere; then everything is closed. Called again, it waits for the same end. */
function closeOnce(
  lameDuckMs: number,
  readiness: ServerReadiness,
  shutdown: Shutdown,
): () => Promise<void> {
  let closing: Promise<void> | undefined;
  const close = async (): Promise<void> => {
    readiness.close();
    await sleep(lameDuckMs);
    shutdown.begin();
    await shutdown.run();
  };
  return () => (closing ??= close());
}
