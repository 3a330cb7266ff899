/** Parts that are loaded where the settings ask for them: a server without is smaller. */
import type { Logger } from 'pino';
import { steadyNow } from '../identity/clock.ts';
import type { JwtVerifier } from '../identity/jwt.ts';
import type { Store } from '../store/store.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import type { Tracing } from '../telemetry/tracing.ts';
import { errorLogger } from './loggers.ts';
import { ofSettings } from './of-settings.ts';
import { isFirstProcess, type ServerOptions } from './running.ts';

/** Verifies the tokens of the issuers that are trusted; `undefined`: there are none. @throws ConfigError */
export async function trustIssuers(
  options: ServerOptions,
  metrics: Metrics,
  log: Logger,
): Promise<JwtVerifier | undefined> {
  const { jwt: issuers } = options.settings.identity;
  if (issuers.length === 0) return undefined;
  const { openJwt } = await import('../identity/jwt.ts');
  const onError = errorLogger(log, 'the keys of an issuer cannot be read');
  const onRead = (ok: boolean): void => metrics.keysRead(ok);
  return ofSettings(options, 'identity.jwt', () =>
    openJwt({ issuers, now: steadyNow, onError, onRead }),
  );
}

/** @param instance names this process in traces, as in its audit records @returns `undefined`: traces are off */
export async function openTraces(
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

/** Logs ids of an earlier form that the store holds, in one process of several. @returns what ends the search */
export function reportOldIds(options: ServerOptions, store: Store, log: Logger): () => void {
  const search = new AbortController();
  if (isFirstProcess(options))
    void import('../admin/old-ids.ts').then(({ tellOldIds }) =>
      tellOldIds(store, search.signal, log),
    );
  return () => search.abort();
}
