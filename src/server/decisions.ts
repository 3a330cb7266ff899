/** AuthorizationService on gRPC: the service, its methods, and the listener that answers with them. */
import { compileSampling } from '../audit/record/sampling.ts';
import { openCallers } from '../identity/callers.ts';
import { steadyNow } from '../identity/clock.ts';
import { openOperator } from '../identity/operator.ts';
import { openRateLimits } from '../identity/rate.ts';
import type { Service } from '../service/calls.ts';
import { createService } from '../service/service.ts';
import { traced } from '../service/traced.ts';
import { CHECK_PATH, compile, extAuthzMethod } from '../transport/ext-authz/methods.ts';
import type { Connections } from '../transport/grpc/connections.ts';
import { authorizationMethods, type Method, type Methods } from '../transport/grpc/methods.ts';
import { reflection } from '../transport/grpc/reflection.ts';
import {
  serveGrpc,
  type Extra,
  type GrpcListener,
  type GrpcOptions,
} from '../transport/grpc/server.ts';
import { bearerOf } from '../util/bearer.ts';
import { questionBytes } from './caches.ts';
import { ofSettings } from './of-settings.ts';
import type { Parts } from './parts.ts';
import type { ServerOptions } from './running.ts';

/** Answers the calls of connections that are bound already. @throws ConfigError */
export async function serveDecisions(
  options: ServerOptions,
  parts: Parts,
  connections: Connections,
): Promise<GrpcListener> {
  const { tracing, health } = parts;
  const untraced = openService(options, parts);
  const service = tracing === undefined ? untraced : traced(untraced, tracing.current);
  const methods = methodsOf(options, parts, service);
  const extras = await extrasOf(options, parts);
  return serveGrpc(connections, methods, health.unary, extras, grpcOptions(options, parts));
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

function methodsOf(options: ServerOptions, parts: Parts, service: Service): Methods {
  const { limits, facts } = options.settings;
  const codecLimits = {
    checksPerBatch: limits.checks_per_batch,
    objectsPerFilter: limits.objects_per_filter,
    attributesPerResource: limits.attributes_per_resource,
    valuesPerAttribute: limits.values_per_attribute,
    sourcesPerResource: limits.sources_per_resource,
    valuesPerResource: limits.values_per_resource,
  };
  const methods = authorizationMethods(service, codecLimits, questionBytes(facts.cache_bytes));
  parts.caches.push({ empty: methods.forget, bytes: methods.keptBytes });
  return { ...methods, unary: { ...methods.unary, ...envoyMethods(options, parts, service) } };
}

/** Nothing passes. */
const NO_ROUTES = compile({ routes: [] });

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

async function extrasOf(
  { settings, packageRoot }: ServerOptions,
  { health, management }: Parts,
): Promise<readonly Extra[]> {
  return [
    health.extra,
    ...(settings.grpc.reflection ? [await reflection(packageRoot)] : []),
    ...(management === undefined ? [] : [management.extra]),
  ];
}

function grpcOptions(options: ServerOptions, parts: Parts): GrpcOptions {
  const { grpc, limits, shutdown } = options.settings;
  const { cert, key, client_ca: clientCa, reload_ms: reloadMs } = grpc.tls;
  const { metrics, management, memory, tracing, onTls, onError } = parts;
  const isOperator = openOperator(options.adminToken);
  return {
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
    connectionGraceMs: shutdown.grace_ms,
    maxLagMs: limits.max_lag_ms,
    isFull: memory.isOver,
    onRefused: (cause) => metrics.overloaded(cause),
    maxWaitMs: limits.max_wait_ms,
    tls: cert === undefined || key === undefined ? undefined : { cert, key, clientCa, reloadMs },
    mayCall: callerCheck(options, parts),
    traced: tracing?.method,
    onTls,
    onCertificate: (until) => metrics.certificate(until),
    onError,
  };
}

/** Whether a caller may ask, by `grpc.callers`. @throws ConfigError */
function callerCheck(options: ServerOptions, { metrics, refusals }: Parts): GrpcOptions['mayCall'] {
  const listed = options.settings.grpc.callers;
  const callers = ofSettings(options, 'grpc.callers', () =>
    openCallers(listed.map(({ name, token_sha256: hash }) => ({ name, hash }))),
  );
  if (listed.length === 0) return undefined;
  return (authorization) => {
    const token = bearerOf(authorization);
    if (token !== undefined && callers.nameOf(token) !== undefined) return true;
    metrics.unauthenticated();
    refusals.note(token === undefined ? 'missing' : 'unknown');
    return false;
  };
}
