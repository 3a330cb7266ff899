/** Whether this process is ready to decide, and why not: for probes, for metrics and for the gRPC health service. */
import type { Readiness } from '../transport/ops/server.ts';

/** What readiness depends on, once it is there. */
export interface ReadinessSources {
  /** Age of the facts that are the freshest, ms. */
  readonly factsAgeMs: () => number;
  readonly storeAnswers: () => boolean;
  /** Tenants of which the store has lost commits. */
  readonly historiesLost: () => number;
  readonly auditIsOpen: () => boolean;
  /** Whether keys of every issuer that must have some are there. */
  readonly hasIssuerKeys: () => boolean;
  /** An issuer must have keys: then the check is shown. */
  readonly needsIssuerKeys: boolean;
}

type Phase =
  | { readonly is: 'starting' }
  /** Without facts: the store has not answered yet. */
  | { readonly is: 'waiting'; readonly sources: ReadinessSources }
  | { readonly is: 'serving'; readonly sources: ReadinessSources }
  | { readonly is: 'closing'; readonly sources: ReadinessSources };

export class ServerReadiness {
  readonly #maxStalenessMs: number;
  readonly #onServing: (serving: boolean) => void;
  #phase: Phase = { is: 'starting' };

  /** @param onServing called when the server begins to serve, and when it stops */
  constructor(maxStalenessMs: number, onServing: (serving: boolean) => void) {
    this.#maxStalenessMs = maxStalenessMs;
    this.#onServing = onServing;
  }

  get isServing(): boolean {
    return this.#phase.is === 'serving';
  }

  /** Without keys that are required nobody's token is taken: probes of gRPC say so, too. */
  get hasIssuerKeys(): boolean {
    return this.#phase.is === 'starting' || this.#phase.sources.hasIssuerKeys();
  }

  /** All parts are there; facts may be missing. */
  wait(sources: ReadinessSources): void {
    this.#phase = { is: 'waiting', sources };
  }

  /** There are facts. */
  serve(): void {
    if (this.#phase.is !== 'waiting') return;
    this.#phase = { is: 'serving', sources: this.#phase.sources };
    this.#onServing(true);
  }

  close(): void {
    if (this.#phase.is === 'starting') return;
    this.#phase = { is: 'closing', sources: this.#phase.sources };
    this.#onServing(false);
  }

  report(): Readiness {
    if (this.#phase.is === 'starting') return { ready: false, checks: { serving: false } };
    const { is, sources } = this.#phase;
    const isServing = is === 'serving';
    const isFresh = sources.factsAgeMs() <= this.#maxStalenessMs;
    const isAudited = sources.auditIsOpen();
    const hasKeys = sources.hasIssuerKeys();
    return {
      ready: isServing && isFresh && isAudited && hasKeys,
      checks: {
        serving: isServing,
        facts_fresh: isFresh,
        store_answers: sources.storeAnswers(),
        audit_open: isAudited,
        ...(sources.needsIssuerKeys ? { issuer_keys: hasKeys } : {}),
        ...lostHistories(sources.historiesLost()),
      },
    };
  }
}

/** For people: it is no reason to ask another instance, and stays until this one ends. */
function lostHistories(tenants: number): Readiness['checks'] {
  return tenants === 0 ? {} : { history: `lost for ${tenants} tenant(s): see the log` };
}
