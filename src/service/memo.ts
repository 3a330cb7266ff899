/** Memo of the last decision of each call that a transport keeps; it lives as long as the kept request. */
import type { Decision, Facts } from '../engine/decision.ts';
import type { Request } from '../engine/model.ts';
import type { Stamp } from '../engine/subject.ts';
import type { CheckCall } from './calls.ts';

/** What was concluded of a call. */
export interface Conclusion {
  readonly decision: Decision;
  /** The part of its audit record that is the same each time; `''`: there is no audit. */
  readonly content: string;
}

/** The facts that a conclusion holds for, by their stamps: facts that the caches have let go of are not kept here. */
interface Basis {
  readonly subject: Stamp | undefined;
  readonly key: Stamp | 'invalid' | undefined;
  readonly catalog: Facts['catalog'];
  readonly tenantExists: boolean;
}

interface Entry {
  /** `undefined`: nothing was concluded yet. */
  conclusion: Conclusion | undefined;
  basis: Basis | undefined;
}

export class DecisionMemo {
  readonly #entries = new WeakMap<Request, Entry>();
  /** What was looked up last: a warm call is validated and concluded in one go. */
  #request: Request | undefined;
  #entry: Entry | undefined;

  /** Whether the call is kept and was found to be well-formed before. */
  isValid(call: CheckCall): boolean {
    return this.#entryOf(call) !== undefined;
  }

  /** The call is well-formed. */
  setValid({ isKept, request }: CheckCall): void {
    if (isKept !== true) return;
    this.#request = request;
    this.#entry = { conclusion: undefined, basis: undefined };
    this.#entries.set(request, this.#entry);
  }

  /** The last conclusion of a call if it was drawn from the same facts, else a new one. */
  conclude(
    call: CheckCall,
    facts: Facts,
    draw: (call: CheckCall, facts: Facts) => Conclusion,
  ): Conclusion {
    const entry = this.#entryOf(call);
    if (entry === undefined) return draw(call, facts);
    if (entry.conclusion !== undefined && entry.basis !== undefined && holdsFor(entry.basis, facts))
      return entry.conclusion;
    entry.conclusion = draw(call, facts);
    entry.basis = basisOf(facts);
    return entry.conclusion;
  }

  #entryOf({ isKept, request }: CheckCall): Entry | undefined {
    if (isKept !== true) return undefined;
    if (request === this.#request) return this.#entry;
    this.#request = request;
    this.#entry = this.#entries.get(request);
    return this.#entry;
  }
}

function basisOf({ subject, key, catalog, tenantExists }: Facts): Basis {
  return { subject: subject?.stamp, key: stampOf(key), catalog, tenantExists };
}

/** `decide` is pure, and facts are compiled anew, with a new stamp, whenever a record behind them changes. */
function holdsFor(basis: Basis, facts: Facts): boolean {
  return (
    basis.subject === facts.subject?.stamp &&
    basis.key === stampOf(facts.key) &&
    basis.catalog === facts.catalog &&
    basis.tenantExists === facts.tenantExists
  );
}

function stampOf(key: Facts['key']): Basis['key'] {
  return typeof key === 'object' ? key.stamp : key;
}
