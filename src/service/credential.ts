/** From a credential to the key and the subject that ask by it (COMB-1). All that is wrong with one looks alike to callers. */
import { actingSubject } from '../engine/abac.ts';
import type { CredentialProblem } from '../engine/credential-problem.ts';
import type { Request, Subject } from '../engine/model.ts';
import type { KeyRecord } from '../engine/records.ts';
import type { FactsRoom, Loaded, LoadedFacts } from '../facts/facts.ts';
import type { Claim, Identity, Unproven } from '../identity/identity.ts';
import { later, type MaybePromise } from '../util/later.ts';
import type { CheckCall } from './calls.ts';
import { unavailable } from './failure.ts';
import type { ProvenCall } from './record.ts';

export interface CredentialOptions {
  readonly facts: Pick<FactsRoom, 'resolve'>;
  readonly identity: Identity;
  /** A credential proves nobody. @param via what it names, such as `key k1`; `''`: nothing that may be told */
  readonly onCredential: (problem: CredentialProblem, via: string) => void;
}

/** A call with whom its credential proves, and the facts that prove it. */
export interface Proven<C extends CheckCall> {
  readonly call: ProvenCall<C>;
  readonly loaded: Loaded;
}

/** Nobody can tell whom a JWT proves. */
export const KEYS_UNAVAILABLE = unavailable(
  'the keys of the issuer of this token cannot be had now: retry',
);

export class Credentials {
  readonly #options: CredentialOptions;

  constructor(options: CredentialOptions) {
    this.#options = options;
  }

  /** Loads the facts of whom the credential names; where they do not prove it, the key of the facts is `invalid`. */
  prove<C extends CheckCall>(
    call: C,
    credential: NonNullable<CheckCall['credential']>,
    waitMs: number,
  ): MaybePromise<Proven<C>> {
    const claim =
      'claim' in credential ? credential.claim : this.#options.identity.identify(credential);
    return later(claim, (known) => this.#proveClaim(call, known, waitMs));
  }

  #proveClaim<C extends CheckCall>(
    call: C,
    claim: Claim | Unproven,
    waitMs: number,
  ): MaybePromise<Proven<C>> {
    const { facts, onCredential } = this.#options;
    const { tenant, subject } = call.request;
    const problem = unprovenBy(claim, tenant, subject);
    const own = problem === undefined && !('unproven' in claim) ? claim : undefined;
    const who = { tenant, subject: own?.subject ?? subject, keyId: own?.keyId };
    const request = { ...call.request, ...who };
    if (problem === 'keys_unavailable') {
      onCredential(problem, '');
      return { call: { ...call, request, credentialProblem: problem }, loaded: NOT_LOADED };
    }
    return later(facts.resolve(who, call.minRevision, waitMs, call.since), (loaded) => {
      const found =
        'facts' in loaded && own?.proves(evidenceIn(loaded)) !== true
          ? (problem ?? problemOf(own, request, loaded))
          : problem;
      const proven = { ...call, request, credentialProblem: found };
      if (!('facts' in loaded) || found === undefined) return { call: proven, loaded };
      onCredential(found, own?.via ?? '');
      return { call: proven, loaded: { ...loaded, facts: { ...loaded.facts, key: 'invalid' } } };
    });
  }
}

const NOT_LOADED: Loaded = {
  unavailable: KEYS_UNAVAILABLE.message,
  reason: KEYS_UNAVAILABLE.reason,
};

function evidenceIn({ facts: { key, subject } }: LoadedFacts): Parameters<Claim['proves']>[0] {
  return { key: typeof key === 'object' ? key.record : undefined, user: subject?.record };
}

/** Why a credential is invalid for this question, whatever is stored; `undefined`: the records say. */
function unprovenBy(
  claim: Claim | Unproven,
  tenant: string,
  subject: Subject | undefined,
): CredentialProblem | undefined {
  if ('unproven' in claim) return claim.unproven;
  if (claim.tenant !== tenant) return 'wrong_tenant';
  return agrees(claim.subject, subject) ? undefined : 'wrong_subject';
}

/** A credential of one subject asks for no other. */
function agrees(proven: Subject | undefined, named: Subject | undefined): boolean {
  return (
    proven === undefined ||
    named === undefined ||
    (proven.type === named.type && proven.id === named.id)
  );
}

/** Why what is stored does not prove a claim. */
function problemOf(
  claim: Claim | undefined,
  request: Request,
  loaded: LoadedFacts,
): CredentialProblem {
  const evidence = evidenceIn(loaded);
  const stored = { ...evidence, key: evidence.key ?? loaded.invalidKey };
  return claim?.problemOf(stored) ?? unusableFor(request, loaded.invalidKey);
}

/** Why a key whose secret was right may not be used: it is another user's, or a policy set of it is lost. */
function unusableFor(
  { subject }: Request,
  key: KeyRecord | undefined,
): Extract<CredentialProblem, 'wrong_subject' | 'unknown'> {
  return key !== undefined && actingSubject(key, subject) === 'mismatch'
    ? 'wrong_subject'
    : 'unknown';
}
