/** The composition root: settings → store, facts, service, audit, transports. */
import { pino, type Logger } from 'pino';
import type { Baseline } from '../admin/migrations/baseline.ts';
import { openChain } from '../audit/seals/chain.ts';
import { compileRedaction, type Redact } from '../audit/record/redact.ts';
import type { AuditLog } from '../audit/log.ts';
import { openAuditLog, readKey } from '../audit/open.ts';
import { openRefusals, type Refusals } from '../audit/record/refusals.ts';
import { compileSampling } from '../audit/record/sampling.ts';
import { counted, MANAGEMENT_OPERATIONS } from '../management/counted.ts';
import { readSource } from '../config/document.ts';
import { needEnds } from '../config/ends.ts';
import { loadMigrations } from '../config/migration.ts';
import { ConfigError } from '../config/problem.ts';
import { parseDefaultRoles } from '../config/roles.ts';
import type { DefaultRole } from '../config/roles.ts';
import type { Settings } from '../config/settings/settings-schema.ts';
import type { Catalog } from '../engine/action.ts';
import { parseState, refused } from '../config/state.ts';
import { openFacts, type FactsRoom } from '../facts/facts.ts';
import { createMetrics, type Gauges, type Metrics } from '../telemetry/metrics.ts';
import { openCallers } from '../identity/callers.ts';
import { steadyNow } from '../identity/clock.ts';
import type { CredentialProblem } from '../engine/credential-problem.ts';
import { openIdentity, type Identity } from '../identity/identity.ts';
import type { JwtVerifier } from '../identity/jwt.ts';
import { openOperator } from '../identity/operator.ts';
import { bearerOf } from '../util/bearer.ts';
import { openRateLimits } from '../identity/rate.ts';
import { openUsage, type Usage } from '../identity/usage.ts';
import { defaultMemoryBound, watchMemory, type MemoryWatch } from '../util/memory.ts';
import { readInForce, wideningOf, type InForce } from './reloadable.ts';
import type { Service } from '../service/calls.ts';
import { createService } from '../service/service.ts';
import { traced } from '../service/traced.ts';
import { keepUsage } from '../identity/usage-writer.ts';
import { observed } from '../store/observed.ts';
import { openStore } from '../store/registry.ts';
import { withoutSecrets } from '../store/redis/address.ts';
import type { Store } from '../store/store.ts';
import { createHealth, type Health } from '../transport/grpc/health.ts';
import { authorizationMethods, type Method } from '../transport/grpc/methods.ts';
import { reflection } from '../transport/grpc/reflection.ts';
import { openConnections, type Connections } from '../transport/grpc/connections.ts';
import type { JudgeCaller } from '../transport/grpc/callers.ts';
import { serveGrpc, type Extra, type GrpcListener } from '../transport/grpc/server.ts';
import { CHECK_PATH, compile, extAuthzMethod } from '../transport/ext-authz/methods.ts';
import type { Tracing } from '../telemetry/tracing.ts';
import { listenOps, type OpsListener, type Readiness } from '../transport/ops/server.ts';
import { withoutTokens } from '../util/tokens.ts';
import { keepSnapshot, restoreSnapshot, retryUntilWarm, warmUp } from './warm-up.ts';

export interface ServerOptions {
  readonly settings: Settings;
  /** Where they come from, for what is wrong with them. */
  readonly settingsFile?: string | undefined;
  /** They end with the mark `...`: then each file that they name must, too. */
  readonly settingsEnded?: boolean | undefined;
  /** The operator's token; it enables AdminService. */
  readonly adminToken?: string | undefined;
  /** State files whose tenants are created if they are absent. */
  readonly states: readonly string[];
  /** Where `proto/` is. */
  readonly packageRoot: string;
  readonly version: string;
  /** Number of this process where several decide: then HTTP is served by the one that started them. */
  readonly worker?: number | undefined;
}

export interface Running {
  /** `http`: `''` in a worker. */
  readonly addresses: { readonly grpc: string; readonly http: string };
  /** Those of the moment of the start. */
  readonly tenants: readonly string[];
  /** The store was away at the start; the server becomes ready when it answers. */
  readonly waiting: boolean;
  readonly log: Logger;
  /** Memory of the caches, by their estimate. */
  readonly cachedBytes: () => number;
  readonly readiness: () => Readiness;
  /** All instruments as they stand. */
  readonly snapshot: Metrics['snapshot'];
  /** Reads the catalog again; a bad one is logged and leaves the last valid one in force. */
  reload(): boolean;
  /** Audit records that the end has lost, once it is closed. */
  lostRecords(): number;
  /** Not ready, GOAWAY, calls in flight finish, audit is flushed. May be called again. */
  close(): Promise<void>;
}

/** What is kept only to be quicker. */
interface Cache {
  empty(): void;
  /** By an estimate. */
  bytes(): number;
}

/** Of `facts.cache_bytes`, which users and keys have each, what remembered questions take. */
function questionBytes(cacheBytes: number): number {
  return cacheBytes / 4;
}

/** A log line of one kind of error at most so often, ms: a store that is down fails every call. */
const ERROR_LOG_INTERVAL_MS = 1_000;

/** Workers are numbered from here. */
const FIRST_WORKER = 1;

/** @throws ConfigError, StoreError or Error with what keeps it from starting */
export async function startServer(options: ServerOptions): Promise<Running> {
  const { settings } = options;
  const { worker } = options;
  const base = worker === undefined ? null : { worker };
  const hooks = { streamWrite: withoutTokens };
  const log = pino({ level: settings.log.level, base, hooks }, pino.destination(2));
  const onError = errorLogger(log, 'an error was answered with a deny');
  if (options.settingsEnded === true) needEnds(settings);
  let inForce = readInForce(settings);
  const { catalog } = inForce;
  const defaults = parseDefaultRoles(readSource(settings.default_roles));
  const baseline = loadMigrations(settings.migrations);
  const states = options.states.map((file) => {
    const source = readSource(file);
    return { source, state: parseState(source, catalog) };
  });

  let lostRecords = 0;
  const cleanups: (() => Promise<void> | void)[] = [];
  const cleanUp = async (): Promise<void> => {
    for (const undo of cleanups.toReversed()) await undo();
  };
  /** When what is here ends at the latest, once it closes; ms of the monotonic clock. */
  let endsAt = Infinity;
  const left = (): number => Math.max(0, endsAt - performance.now());
  try {
    // First of all: a server that cannot listen must not have stored anything.
    const late: Late = { readiness: () => STARTING, metrics: () => undefined };
    const { connections, http } = await listen(options, late, log);
    cleanups.push(() => http?.close());
    cleanups.push(() => cut(connections));
    const store = await openStore({
      address: settings.store,
      readTimeoutMs: settings.facts.store_timeout_ms,
      redis: settings.redis,
      onProblem: problemLogger(log, withoutSecrets(settings.store)),
    });
    cleanups.push(() => store.close());
    // What only applies states is loaded where there are any: a server without is smaller.
    for (const { source, state } of states) {
      const { applyState } = await import('../admin/state/apply-state.ts');
      const { StateError } = await import('../admin/state/plan-state.ts');
      const { head } = await store.get(state.tenant, []);
      if (head === undefined)
        await applyState(
          store,
          state,
          defaults,
          'operator:serve --state',
          // Another instance may have made the tenant since: then nothing of it is taken away.
          { baseline, unlisted: 'refuse' },
        ).catch((error: unknown) => {
          throw error instanceof StateError ? refused(source, error.findings) : error;
        });
    }
    const audit = await openAuditLog({
      sinks: settings.audit.sinks,
      worker,
      workers: settings.workers,
      store: settings.store,
      redis: settings.redis,
      seals: {
        key: readKey('audit.chain_key_file', settings.audit.chain_key_file),
        records: settings.audit.seal_records,
        ms: settings.audit.seal_ms,
      },
      maxWaiting: settings.limits.waiting_calls,
      onError: (sink) => errorLogger(log.child({ sink }), 'an audit sink fails: it is tried again'),
      onInfo: (sink) => (message) => log.info({ sink }, message),
    });
    cleanups.push(async () => {
      // What no sink takes in this time goes to its spool, which takes time, too.
      const spoolMs = flushMs(settings.shutdown.grace_ms) / 2;
      lostRecords = await audit.close(Math.max(left() - spoolMs, spoolMs));
      if (audit.lastSeq() > 0)
        log.info(
          { instance: audit.instance, last_seq: audit.lastSeq() },
          'the audit log is closed',
        );
      for (const sink of audit.sinks) {
        const { dropped, spooled } = sink.stats();
        if (dropped > 0) log.error({ sink: sink.name, dropped }, 'audit records were lost');
        if (spooled > 0)
          log.warn(
            { sink: sink.name, spooled },
            'audit records wait in the spool for the next start',
          );
      }
    });
    const redact = compileRedaction({
      attributes: settings.audit.attributes,
      rules: settings.audit.fields,
      hashKey: readKey('audit.hash_key_file', settings.audit.hash_key_file),
    });
    const told = { sinks: audit.sinks, ready: () => readiness().ready };
    const watched = openFactsAndMetrics(options, store, told, catalog, log, onError);
    const { facts, metrics } = watched;
    late.metrics = () => metrics;
    cleanups.push(() => facts.close());
    const tenants = await warmUp(facts, settings.store, log);

    const onKeys = errorLogger(log, 'the keys of an issuer cannot be read');
    const jwt =
      settings.identity.jwt.length === 0 ? undefined : await trustIssuers(options, onKeys, metrics);
    cleanups.push(() => jwt?.close());
    const required = settings.identity.jwt.some((issuer) => issuer.required === true);
    const health = createHealth();
    let ready = false;
    const readiness = (): Readiness => {
      const fresh = facts.freshestMs() <= settings.facts.max_staleness_ms;
      const audited = audit.isOpen();
      const keys = jwt?.hasKeys() ?? true;
      return {
        ready: ready && fresh && audited && keys,
        checks: {
          serving: ready,
          facts_fresh: fresh,
          store_answers: facts.storeUp(),
          audit_open: audited,
          ...(required ? { issuer_keys: keys } : {}),
          ...lostHistory(facts.stats().historiesLost),
        },
      };
    };
    late.readiness = readiness;
    const identity = openIdentity({ jwt, now: steadyNow });
    const usage = openUsage(steadyNow);
    const refusals = openRefusals(audit, redact);
    cleanups.push(() => refusals.close());
    const logged = refusalLogger(log);
    const onCredential: Parts['onCredential'] = (problem, via) => {
      metrics.credential(problem);
      logged(problem, via);
    };
    const common = { audit, redact, refusals, identity, metrics, onError, onCredential };
    const caches: Cache[] = [{ empty: () => facts.shed(), bytes: () => facts.stats().bytes }];
    const memory = watch(options, caches, metrics, log);
    cleanups.push(() => memory.close());
    const stored = { store: watched.store, catalog: () => inForce.catalog, defaults, baseline };
    const tracing = await openTraces(options, audit.instance, log);
    cleanups.push(() => tracing?.close());
    const management = await openAdminService(options, stored, common);
    const looking = new AbortController();
    cleanups.push(() => looking.abort());
    // One process of several is enough.
    if ((worker ?? FIRST_WORKER) === FIRST_WORKER)
      void import('../admin/old-ids.ts').then(({ tellOldIds }) =>
        tellOldIds(watched.store, looking.signal, log),
      );
    const onUsage = errorLogger(log, 'when keys were last used could not be written');
    cleanups.push(keepUsage(watched.store, usage, settings.identity.usage_interval_ms, onUsage));
    const onTls = errorLogger(
      log,
      'TLS: a certificate is out of its time, or new TLS files are not taken up and the last good ones serve',
    );
    const parts = {
      ...common,
      inForce: () => inForce,
      facts,
      health,
      usage,
      tracing,
      management,
      memory,
      caches,
      onTls,
    };
    const grpc = await serveDecisions(options, parts, connections);
    cleanups.push(() => grpc.drain(Math.max(0, left() - flushMs(settings.shutdown.grace_ms))));
    const becomeReady = (): void => {
      health.set(true);
      ready = true;
    };
    if (tenants !== undefined) becomeReady();
    else {
      if (restoreSnapshot(facts, settings, log)) becomeReady();
      cleanups.push(retryUntilWarm(facts, settings, becomeReady, log));
    }
    cleanups.push(keepSnapshot(facts, settings, onError));

    let closing: Promise<void> | undefined;
    const close = async (): Promise<void> => {
      ready = false;
      health.set(false);
      await new Promise((done) => setTimeout(done, settings.shutdown.lame_duck_ms));
      endsAt = performance.now() + settings.shutdown.grace_ms;
      await cleanUp();
    };
    return {
      addresses: { grpc: connections.address, http: http?.address ?? '' },
      tenants: tenants ?? [],
      waiting: !ready,
      log,
      reload(): boolean {
        try {
          const next = readInForce(settings, inForce);
          const { told: widened, count } = wideningOf(inForce, next);
          inForce = next;
          facts.setCatalog(inForce.catalog);
          metrics.reload(count === 0 ? 'ok' : 'widened');
          const { files } = inForce;
          if (count === 0) log.info({ files }, 'catalog and routes reloaded');
          else
            log.warn(
              { files, count, widened },
              'catalog and routes reloaded: they may allow more than before',
            );
          return true;
        } catch (error) {
          metrics.reload('refused');
          log.error(
            { error: messageOf(error) },
            'catalog or routes refused: the last valid ones stay in force',
          );
          return false;
        }
      },
      readiness,
      snapshot: metrics.snapshot,
      cachedBytes: () => caches.reduce((sum, cache) => sum + cache.bytes(), 0),
      lostRecords: () => lostRecords,
      close: () => (closing ??= close()),
    };
  } catch (error) {
    await cleanUp();
    throw error;
  }
}

/** What probes are told before there is anything to tell. */
const STARTING: Readiness = { ready: false, checks: { serving: false } };

/** Kept of the time for calls in flight, so that their last records reach the sinks: a fifth of it, and no more. */
const FLUSH_MS = 500;

function flushMs(graceMs: number): number {
  return Math.min(FLUSH_MS, graceMs / 5);
}

/** What HTTP tells, once it is there. */
interface Late {
  readiness: () => Readiness;
  metrics: () => Metrics | undefined;
}

/** Binds all listeners. gRPC waits for what answers its calls. @throws BindError */
async function listen(
  { settings, worker }: ServerOptions,
  late: Late,
  log: Logger,
): Promise<{ readonly connections: Connections; readonly http: OpsListener | undefined }> {
  const onError = errorLogger(log, 'a connection could not be taken');
  const { grpc, http } = settings;
  const connections = await openConnections({
    address: grpc.address,
    socketMode: grpc.socket_mode,
    shared: worker !== undefined,
    setting: 'grpc.address',
    variable: 'POSTERN_GRPC_ADDRESS',
    onError,
  });
  if (worker !== undefined) return { connections, http: undefined };
  try {
    const ops = await listenOps({
      address: http.address,
      socketMode: http.socket_mode,
      readiness: () => late.readiness(),
      metrics: () => late.metrics(),
      onError,
    });
    return { connections, http: ops };
  } catch (error) {
    await cut(connections);
    throw error;
  }
}

function cut(connections: Connections): Promise<void> {
  const over = connections.refuse();
  connections.cut();
  return over;
}

function openFactsAndMetrics(
  { settings, adminToken, version }: ServerOptions,
  store: Store,
  told: Pick<Gauges, 'sinks' | 'ready'>,
  catalog: Catalog,
  log: Logger,
  onError: (error: unknown) => void,
): { readonly facts: FactsRoom; readonly metrics: Metrics; readonly store: Store } {
  const managed = isManaged(settings, adminToken);
  const metrics = createMetrics({
    ...told,
    facts: () => facts.stats(),
    factsAgeMs: () => facts.ageMs(),
    storeUp: () => facts.storeUp(),
    operations: managed ? MANAGEMENT_OPERATIONS : [],
    version,
  });
  const watched = observed(store, metrics.store);
  const { facts: limits } = settings;
  const facts = openFacts(watched, catalog, {
    maxStalenessMs: limits.max_staleness_ms,
    heartbeatMs: limits.heartbeat_ms,
    storeTimeoutMs: limits.store_timeout_ms,
    maxWaiting: settings.limits.waiting_calls,
    cache: {
      subjects: limits.cached_subjects,
      keys: limits.cached_keys,
      absent: limits.cached_absent,
      groups: limits.cached_closures,
      tenants: limits.cached_tenants,
      bytes: limits.cache_bytes - questionBytes(limits.cache_bytes) / 2,
    },
    now: () => performance.now(),
    wallNow: steadyNow,
    onResync: (tenant, cause) => {
      if (cause === 'deleted') {
        log.warn({ tenant }, 'the tenant was deleted: nothing of it is allowed any more');
        return;
      }
      metrics.resync(cause);
      log.warn({ tenant, cause }, 'the change feed broke: reading the tenant again');
    },
    onEntries: (_tenant, entries) => {
      const newest = entries.at(-1);
      if (newest !== undefined) metrics.feed(Math.max(0, Date.now() - newest.time) / 1_000);
    },
    onHistoryLost: (tenant, after, upTo) => {
      metrics.historyLost();
      log.error(
        { tenant, after, up_to: upTo },
        'the store has lost commits: revisions that were in force are no longer in its history',
      );
    },
    onStore: (up) =>
      up ? log.info('the store answers again') : log.error('the store does not answer: facts age'),
    onError,
  });
  const telling: Store = {
    ...watched,
    async commit(commit) {
      const result = await watched.commit(commit);
      if (result.committed) facts.committed(commit.tenant, result.head);
      return result;
    },
  };
  return { facts, metrics, store: telling };
}

/** For people: it is no reason to ask another instance, and stays until this one ends. */
function lostHistory(tenants: number): Readiness['checks'] {
  return tenants === 0 ? {} : { history: `lost for ${tenants} tenant(s): see the log` };
}

/** What all transports share. */
interface Parts {
  readonly facts: FactsRoom;
  readonly metrics: Metrics;
  readonly audit: AuditLog;
  readonly redact: Redact | undefined;
  /** Callers that are not known. */
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
  /** What empties them, for want of memory. */
  readonly caches: Cache[];
  readonly onTls: (error: unknown) => void;
  readonly onCredential: (problem: CredentialProblem, via: string) => void;
  readonly onError: (error: unknown) => void;
}

interface AdminListener {
  readonly extra: Extra;
  readonly callers: Readonly<Record<string, JudgeCaller>>;
}

function openService({ settings }: ServerOptions, parts: Parts): Service {
  const { limits } = settings;
  const { facts, metrics, audit, redact, identity, usage, onCredential, onError } = parts;
  return createService({
    facts,
    metrics,
    log: audit,
    redact,
    sampling: compileSampling(settings.audit.sampling),
    limits: {
      attributes: limits.attributes_per_resource,
      valuesPerAttribute: limits.values_per_attribute,
    },
    identity,
    rateLimits: openRateLimits({ now: steadyNow }),
    filterObjectCost: limits.filter_object_cost,
    usage,
    onCredential,
    onError,
  });
}

async function serveDecisions(
  options: ServerOptions,
  parts: Parts,
  connections: Connections,
): Promise<GrpcListener> {
  const { settings, packageRoot } = options;
  const { limits, grpc } = settings;
  const { health, metrics, management, memory, onTls, onError } = parts;
  const { tracing } = parts;
  const untraced = openService(options, parts);
  const service = tracing === undefined ? untraced : traced(untraced, tracing.current);
  const codecLimits = {
    checksPerBatch: limits.checks_per_batch,
    objectsPerFilter: limits.objects_per_filter,
    attributesPerResource: limits.attributes_per_resource,
    valuesPerAttribute: limits.values_per_attribute,
    sourcesPerResource: limits.sources_per_resource,
    valuesPerResource: limits.values_per_resource,
  };
  const kept = questionBytes(settings.facts.cache_bytes);
  const methods = authorizationMethods(service, codecLimits, kept);
  parts.caches.push({ empty: methods.forget, bytes: methods.keptBytes });
  const extras = [
    health.extra,
    ...(grpc.reflection ? [await reflection(packageRoot)] : []),
    ...(management === undefined ? [] : [management.extra]),
  ];
  const { cert, key, client_ca: clientCa, reload_ms: reloadMs } = grpc.tls;
  const callers = grpc.callers.map(({ name, token_sha256: hash }) => ({ name, hash }));
  const isOperator = openOperator(options.adminToken);
  const known = ofSettings(options, 'grpc.callers', () => openCallers(callers));
  const unary = { ...methods.unary, ...envoyMethods(options, parts, service) };
  return serveGrpc(connections, { ...methods, unary }, health.unary, extras, {
    maxMessageBytes: grpc.max_message_bytes,
    receivingBytes: limits.receiving_bytes,
    compression: grpc.compression,
    ownCallers: management?.callers ?? {},
    isOperator: (authorization) => {
      const token = bearerOf(authorization);
      return token !== undefined && isOperator(token);
    },
    maxConcurrentStreams: grpc.max_concurrent_streams,
    streamInFlight: limits.stream_in_flight,
    maxConnectionAgeMs: grpc.max_connection_age_ms,
    connectionGraceMs: settings.shutdown.grace_ms,
    maxLagMs: limits.max_lag_ms,
    isFull: memory.isOver,
    onRefused: (cause) => metrics.overloaded(cause),
    maxWaitMs: limits.max_wait_ms,
    tls: cert === undefined || key === undefined ? undefined : { cert, key, clientCa, reloadMs },
    mayCall:
      callers.length === 0
        ? undefined
        : (authorization) => {
            const token = bearerOf(authorization);
            const may = token !== undefined && known.nameOf(token) !== undefined;
            if (!may) {
              metrics.unauthenticated();
              parts.refusals.note(token === undefined ? 'missing' : 'unknown');
            }
            return may;
          },
    traced: tracing?.method,
    onTls,
    onCertificate: (until) => metrics.certificate(until),
    onError,
  });
}

/** Empties caches, and has new calls refused, where memory runs out. */
function watch(
  { settings }: ServerOptions,
  caches: readonly Cache[],
  metrics: Metrics,
  log: Logger,
): MemoryWatch {
  const bound = settings.limits.memory_bytes ?? defaultMemoryBound(settings.workers);
  if (bound === 0) return watchMemory(undefined);
  return watchMemory({
    bound,
    shed: () => caches.forEach((cache) => cache.empty()),
    onShed(used): void {
      metrics.shed();
      log.warn({ used, bound }, 'memory runs out: caches were emptied');
    },
    onOver(over, used): void {
      if (over) log.error({ used, bound }, 'memory has run out: new calls are refused');
      else log.info({ used, bound }, 'there is memory again: new calls are answered');
    },
  });
}

/** Traces, where they are on: what sends them is loaded there alone. */
async function openTraces(
  { settings, version }: ServerOptions,
  instance: string,
  log: Logger,
): Promise<Tracing | undefined> {
  const {
    enabled,
    endpoint,
    sample_ratio: sampleRatio,
    service_name: serviceName,
  } = settings.tracing;
  if (!enabled) return undefined;
  const { openTracing } = await import('../telemetry/tracing.ts');
  return openTracing({
    endpoint,
    sampleRatio,
    serviceName,
    version,
    instance,
    closeMs: settings.shutdown.grace_ms,
    onError: errorLogger(log, 'traces cannot be sent, and are lost'),
  });
}

/** Envoy is answered where there are routes. */
function envoyMethods(
  { settings }: ServerOptions,
  { inForce, identity }: Parts,
  service: Service,
): Readonly<Record<string, Method>> {
  if (settings.routes === undefined) return {};
  return {
    [CHECK_PATH]: extAuthzMethod({
      service,
      routes: () => inForce().routes ?? NO_ROUTES,
      identify: (credential) => identity.identify(credential),
    }),
  };
}

/** Nothing passes. */
const NO_ROUTES = compile({ routes: [] });

/** Loaded where there are issuers: a server without any is smaller. @throws ConfigError */
async function trustIssuers(
  options: ServerOptions,
  onError: (error: unknown) => void,
  metrics: Metrics,
): Promise<JwtVerifier> {
  const { openJwt } = await import('../identity/jwt.ts');
  const { jwt: issuers } = options.settings.identity;
  return ofSettings(options, 'identity.jwt', () =>
    openJwt({ issuers, now: steadyNow, onError, onRead: (ok) => metrics.keysRead(ok) }),
  );
}

/** AdminService over the store, where the settings or an admin token enable it. */
async function openAdminService(
  { settings, adminToken, packageRoot }: ServerOptions,
  { store, catalog, defaults, baseline }: Stored,
  {
    audit,
    redact,
    identity,
    metrics,
    onError,
  }: Pick<Parts, 'audit' | 'redact' | 'identity' | 'metrics' | 'onError'>,
): Promise<AdminListener | undefined> {
  if (!isManaged(settings, adminToken)) return undefined;
  const { adminService, ADMIN_PATHS, judgeAdmin } = await import('../transport/grpc/admin.ts');
  const { openManagement } = await import('../management/management.ts');
  const opened = openManagement({
    store,
    catalog,
    defaults,
    baseline,
    identity,
    adminToken,
    policyLimits: settings.admin.policy_sets,
    maxStateBytes: settings.admin.max_state_bytes,
    threadStore: {
      address: settings.store,
      // Nobody waits for a decision on it.
      readTimeoutMs: settings.redis.commit_timeout_ms,
      redis: settings.redis,
    },
    log: audit,
    redact,
    seal: openChain(readKey('audit.chain_key_file', settings.audit.chain_key_file)),
    now: steadyNow,
  });
  const management = counted(opened, metrics);
  const extra = await adminService({
    ...management,
    packageRoot,
    maxStateBytes: settings.admin.max_state_bytes,
    onError,
  });
  const judge = judgeAdmin((authorization) => management.admit(authorization), onError);
  return { extra, callers: { [ADMIN_PATHS]: judge } };
}

function isManaged({ admin }: Settings, adminToken: string | undefined): boolean {
  return admin.enabled || adminToken !== undefined;
}

interface Stored {
  readonly store: Store;
  readonly catalog: () => Catalog;
  readonly defaults: readonly DefaultRole[];
  readonly baseline: Baseline;
}

function errorLogger(log: Logger, message: string): (error: unknown) => void {
  let last = -Infinity;
  let silenced = 0;
  return (error) => {
    if (performance.now() - last < ERROR_LOG_INTERVAL_MS) {
      silenced++;
      return;
    }
    last = performance.now();
    log.error({ err: error, silenced }, message);
    silenced = 0;
  };
}

/** Why credentials prove nobody, for operators; of each problem at most so often, with how many there were. */
function refusalLogger(log: Logger): (problem: CredentialProblem, via: string) => void {
  const seen = new Map<CredentialProblem, { last: number; silenced: number }>();
  return (problem, via) => {
    const one = seen.get(problem) ?? { last: -Infinity, silenced: 0 };
    seen.set(problem, one);
    if (performance.now() - one.last < ERROR_LOG_INTERVAL_MS * 10) {
      one.silenced++;
      return;
    }
    one.last = performance.now();
    const named = via === '' ? {} : { via };
    log.warn({ problem, ...named, silenced: one.silenced }, 'a credential proves nobody');
    one.silenced = 0;
  };
}

/** The same problem of a connection at most so often: it is met at every attempt. */
function problemLogger(log: Logger, store: string): (message: string) => void {
  const told = new Map<string, number>();
  return (problem) => {
    const last = told.get(problem) ?? -Infinity;
    if (performance.now() - last < ERROR_LOG_INTERVAL_MS * 10) return;
    if (told.size > 100) told.clear();
    told.set(problem, performance.now());
    log.warn({ store, problem }, 'a connection to the store has a problem');
  };
}

/** Opens what a part of the settings says. @throws ConfigError that names the part */
function ofSettings<T>(
  { settingsFile: file = 'settings' }: ServerOptions,
  path: string,
  open: () => T,
): T {
  try {
    return open();
  } catch (error) {
    const message = messageOf(error);
    throw new ConfigError([{ file, line: 1, column: 1, path, message, severity: 'error' }]);
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
