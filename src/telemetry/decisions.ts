/** Decisions by entry point and reason. The hot path adds to typed arrays. */
import { APIS, type Api } from '../audit/fields.ts';
import { CREDENTIAL_PROBLEMS, type CredentialProblem } from '../engine/credential-problem.ts';
import { REASONS, type Reason } from '../engine/model.ts';
import {
  bump,
  by,
  counter,
  Histograms,
  single,
  type Instrument,
  type InstrumentTable,
  type Value,
} from './instruments.ts';

/** Upper bounds in seconds: a warm decision takes microseconds, a cold one a round trip. */
const BUCKETS = [1e-6, 2.5e-6, 5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 1e-3, 5e-3, 2.5e-2, 0.1, 1];

/** Malformed requests are errors, not decisions: they have no series. */
const HAS_SERIES: Readonly<Record<Reason, boolean>> = {
  ALLOWED: true,
  ACTION_DENIED: true,
  OBJECT_HIDDEN: true,
  NO_GRANT: true,
  UNKNOWN_ACTION: true,
  SUBJECT_INACTIVE: true,
  KEY_INVALID: true,
  TENANT_MISMATCH: true,
  STALE: true,
  INTERNAL: true,
  INVALID_ARGUMENT: false,
  UNAVAILABLE: true,
  RATE_LIMITED: true,
  HISTORY_LOST: true,
  VERSION: true,
};
const SERIES = REASONS.filter((reason) => HAS_SERIES[reason]);

export class DecisionMetrics implements InstrumentTable {
  readonly #decisions = new Float64Array(APIS.length * REASONS.length);
  readonly #durations = new Histograms('api', APIS, BUCKETS);
  readonly #shadows = { newly_denied: 0, newly_allowed: 0 };
  readonly #objects = { true: 0, false: 0 };
  readonly #credentials = new Map(CREDENTIAL_PROBLEMS.map((problem) => [problem, 0]));
  #refused = 0;
  #unauthenticated = 0;

  readonly instruments: readonly Instrument[] = [
    counter('postern_decisions_total', 'Decisions by outcome.', () => this.#series()),
    {
      name: 'postern_decision_duration_seconds',
      help: 'Time from a decoded request to its decision.',
      type: 'histogram',
      values: () => this.#durations.values(),
    },
    counter(
      'postern_shadow_disagreements_total',
      'Decisions that full enforcement would change.',
      by('kind', () => this.#shadows),
    ),
    counter(
      'postern_filter_objects_total',
      'Objects that Filter looked at.',
      by('visible', () => this.#objects),
    ),
    counter(
      'postern_audit_refusals_total',
      'Answers that were refused because their record was not kept in time.',
      single(() => this.#refused),
    ),
    counter(
      'postern_authentication_failures_total',
      'Callers, operators, keys, sessions and tokens that could not prove who they are.',
      single(() => this.#unauthenticated + this.#decided('KEY_INVALID')),
    ),
    counter(
      'postern_credential_problems_total',
      'Credentials of questions that proved nobody, by what is wrong with them.',
      by('problem', () => Object.fromEntries(this.#credentials)),
    ),
    counter(
      'postern_rate_limited_total',
      'Questions of keys that asked more often than they may.',
      single(() => this.#decided('RATE_LIMITED')),
    ),
  ];

  decision(api: Api, reason: Reason, seconds: number): void {
    const a = APIS.indexOf(api);
    bump(this.#decisions, a * REASONS.length + REASONS.indexOf(reason), 1);
    this.#durations.observe(a, seconds);
  }

  shadow(denied: number, allowed: number): void {
    this.#shadows.newly_denied += denied;
    this.#shadows.newly_allowed += allowed;
  }

  filtered(visible: number, hidden: number): void {
    this.#objects.true += visible;
    this.#objects.false += hidden;
  }

  notAudited(): void {
    this.#refused++;
  }

  unauthenticated(): void {
    this.#unauthenticated++;
  }

  credential(problem: CredentialProblem): void {
    this.#credentials.set(problem, (this.#credentials.get(problem) ?? 0) + 1);
  }

  #series(): Value[] {
    return APIS.flatMap((api) =>
      SERIES.map((reason) => ({
        labels: { api, allowed: String(reason === 'ALLOWED'), reason },
        value: this.#of(api, reason),
      })),
    );
  }

  /** Decisions of all entry points with a reason. */
  #decided(reason: Reason): number {
    return APIS.reduce((sum, api) => sum + this.#of(api, reason), 0);
  }

  #of(api: Api, reason: Reason): number {
    return this.#decisions[APIS.indexOf(api) * REASONS.length + REASONS.indexOf(reason)] ?? 0;
  }
}
