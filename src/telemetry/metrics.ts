/** Everything that is counted and measured: one interface for those who count, one exposition for those who scrape. */
import type { Api } from '../audit/fields.ts';
import type { Sink } from '../audit/sinks/queue.ts';
import type { CredentialProblem } from '../engine/credential-problem.ts';
import type { Reason } from '../engine/model.ts';
import type { BreakCause } from '../facts/facts.ts';
import type { Observe } from '../store/observed.ts';
import { auditInstruments } from './audit-sinks.ts';
import { DecisionMetrics } from './decisions.ts';
import { expose, type Exposition } from './exposition.ts';
import { FactsMetrics, type FactsGauges } from './facts-and-store.ts';
import {
  processInstruments,
  readiness,
  ServerMetrics,
  type OperationResult,
  type ServerGauges,
} from './server-metrics.ts';

export interface Metrics extends Exposition {
  decision(api: Api, reason: Reason, seconds: number): void;
  /** An answer was refused because its record was not kept in time. */
  notAudited(): void;
  /** Answers that full enforcement would change: newly denied, newly allowed. */
  shadow(denied: number, allowed: number): void;
  /** Objects that a Filter looked at. */
  filtered(visible: number, hidden: number): void;
  /** A tenant is read again. */
  resync(cause: BreakCause): void;
  /** The store was found to have lost commits of a tenant. */
  historyLost(): void;
  /** A call of the store. */
  readonly store: Observe;
  /** A commit has come into force here, so long after it was made by its writer's clock, seconds. */
  feed(lag: number): void;
  /** `widened`: it was taken, and may allow more than the one before. */
  reload(result: 'ok' | 'widened' | 'refused'): void;
  /** An operation of management was answered; one that is none of `Gauges.operations` is not counted. */
  operation(operation: string, result: OperationResult): void;
  /** Somebody could not prove who it is to this process; credentials of questions are counted with their decisions. */
  unauthenticated(): void;
  /** The credential of a question proves nobody. */
  credential(problem: CredentialProblem): void;
  /** The keys of an issuer were read, or could not be. */
  keysRead(ok: boolean): void;
  /** The certificate that serves is valid until then, ms since the epoch. */
  certificate(until: number): void;
  /** A call was refused before it was read: the process is late, or has no memory for it. */
  overloaded(cause: 'lag' | 'memory'): void;
  /** Caches were emptied for want of memory. */
  shed(): void;
}

export interface Gauges extends FactsGauges, ServerGauges {
  readonly sinks: readonly Sink[];
}

export function createMetrics(gauges: Gauges): Metrics {
  const decisions = new DecisionMetrics();
  const facts = new FactsMetrics(gauges);
  const server = new ServerMetrics(gauges);
  const exposition = expose([
    ...decisions.instruments,
    ...facts.instruments,
    ...auditInstruments(gauges.sinks),
    ...server.instruments,
    ...processInstruments(1, () => 0),
  ]);
  return {
    ...exposition,
    decision: (api, reason, seconds) => decisions.decision(api, reason, seconds),
    notAudited: () => decisions.notAudited(),
    shadow: (denied, allowed) => decisions.shadow(denied, allowed),
    filtered: (visible, hidden) => decisions.filtered(visible, hidden),
    unauthenticated: () => decisions.unauthenticated(),
    credential: (problem) => decisions.credential(problem),
    resync: (cause) => facts.resync(cause),
    historyLost: () => facts.historyLost(),
    store: (operation, ok, seconds) => facts.store(operation, ok, seconds),
    feed: (lag) => facts.feed(lag),
    shed: () => facts.shed(),
    reload: (result) => server.reload(result),
    operation: (operation, result) => server.operation(operation, result),
    keysRead: (ok) => server.keysRead(ok),
    certificate: (until) => server.certificate(until),
    overloaded: (cause) => server.overloaded(cause),
  };
}

export interface PrimaryGauges {
  readonly restarts: () => number;
  /** All processes that decide are there. */
  readonly ready: () => boolean;
}

/** The instruments of a process that decides nothing, and keeps others going. */
export function createPrimaryMetrics({ restarts, ready }: PrimaryGauges): Exposition {
  return expose([readiness(ready), ...processInstruments(0, restarts)]);
}
