/** Who calls AdminService: the operator, a user with a session or JWT, or a key that acts for a user. */
import { actorName, type Actor } from '../admin/actor.ts';
import { nameOf } from '../admin/principals.ts';
import { Refused } from '../admin/refused.ts';
import type { CredentialProblem } from '../engine/credential-problem.ts';
import { storedIdProblem } from '../engine/id.ts';
import type { KeyRecord, UserRecord } from '../engine/records.ts';
import { printable } from '../engine/validate.ts';
import type { Claim, Evidence, Identity, Unproven } from '../identity/identity.ts';
import { openOperator } from '../identity/operator.ts';
import { bearerOf } from '../util/bearer.ts';
import type { FactKey, Store } from '../store/store.ts';
import type { ManagementRecorder } from './recorder.ts';

/** What a caller says of itself. */
export interface Caller {
  readonly authorization: string;
  readonly actor: string;
  readonly tenant: string;
}

export interface CallersOptions {
  readonly store: Store;
  readonly identity: Identity;
  /** The operator's; `undefined`: there is no operator. */
  readonly adminToken: string | undefined;
  readonly recorder: ManagementRecorder;
}

/** Either what a credential proves, or why it proves nobody. */
type Proven = Actor | { readonly problem: CredentialProblem };

export class Callers {
  readonly #store: Store;
  readonly #identity: Identity;
  readonly #recorder: ManagementRecorder;
  readonly #isOperator: (token: string) => boolean;

  constructor({ store, identity, adminToken, recorder }: CallersOptions) {
    this.#store = store;
    this.#identity = identity;
    this.#recorder = recorder;
    this.#isOperator = openOperator(adminToken);
  }

  /**
   * Judges a caller by its `authorization` alone, in the tenant that the credential itself names.
   * @throws Refused as `authenticate` does
   */
  async admit(authorization: string): Promise<void> {
    const token = bearerOf(authorization);
    if (token === undefined) throw this.#refused('', 'missing');
    if (this.#isOperator(token)) return;
    const claim = await this.#identify(token);
    const tenant = 'tenant' in claim ? claim.tenant : '';
    const proven = await this.#prove(claim, tenant);
    if ('problem' in proven) throw this.#refused(tenant, proven.problem);
  }

  /** @throws Refused UNAUTHENTICATED, in the same words for every cause; PERMISSION_DENIED */
  async authenticate({ authorization, actor, tenant }: Caller): Promise<Actor> {
    const token = bearerOf(authorization);
    if (token === undefined) throw this.#refused(tenant, 'missing');
    if (this.#isOperator(token)) return operator(actor);
    const proven = await this.#prove(await this.#identify(token), tenant);
    if ('problem' in proven) throw this.#refused(tenant, proven.problem);
    if (actor !== '' && nameOf({ type: 'user', id: userOf(actor) }) !== actorName(proven))
      throw this.#denied(
        tenant,
        `\`${actorName(proven)}\` may not act as \`${printable(actor)}\`: the operator could`,
      );
    return proven;
  }

  /** @throws Refused UNAVAILABLE where nobody can say whom the token proves */
  async #identify(token: string): Promise<Claim | Unproven> {
    const claim = await this.#identity.identify({ bearerToken: token });
    if ('unproven' in claim && claim.unproven === 'keys_unavailable')
      throw new Refused(
        'unavailable',
        'the keys of the issuer of this token cannot be had now: retry',
      );
    return claim;
  }

  /** The user that a credential proves, and the key that it came by. */
  async #prove(claim: Claim | Unproven, tenant: string): Promise<Proven> {
    const found = 'unproven' in claim ? undefined : claim;
    const own = found?.tenant === tenant ? found : undefined;
    const keyId = own?.keyId;
    const evidence = await this.#evidenceOf(tenant, keyId, own?.subject?.id);
    if (own === undefined)
      return { problem: 'unproven' in claim ? claim.unproven : 'wrong_tenant' };
    if (!own.proves(evidence)) return { problem: own.problemOf(evidence) ?? 'unknown' };
    if (keyId === undefined) return { user: own.subject?.id, keyId: undefined, via: own.via };
    const { key } = evidence;
    if (key?.user === undefined)
      throw this.#denied(
        tenant,
        `key \`${keyId}\` acts for no user and manages nothing: a user, or a key that is bound to one, could`,
      );
    return { user: key.user, keyId, via: `key ${keyId}` };
  }

  /** One look at the store, whatever the credential is worth: the time it takes gives nothing away. */
  async #evidenceOf(
    tenant: string,
    keyId: string | undefined,
    userId: string | undefined,
  ): Promise<Evidence> {
    const keys: FactKey[] = [
      ...(keyId === undefined ? [] : [{ kind: 'key' as const, id: keyId }]),
      ...(userId === undefined ? [] : [{ kind: 'user' as const, id: userId }]),
    ];
    const named = storedIdProblem(tenant) === undefined ? tenant : '-';
    const { values } = await this.#store.get(named, keys);
    // The store returns records of the kinds that were asked for.
    return {
      key: keyId === undefined ? undefined : (values[0] as KeyRecord | undefined),
      user: userId === undefined ? undefined : (values.at(-1) as UserRecord | undefined),
    };
  }

  #refused(tenant: string, problem: CredentialProblem): Refused {
    const why = problem === 'missing' ? 'no bearer token' : 'the credential proves nobody here';
    this.#recorder.authentication({ tenant, why, problem });
    return new Refused(
      'unauthenticated',
      'the credential is missing, unknown, expired, revoked or of another tenant: send `authorization: Bearer TOKEN`',
    );
  }

  /** Of somebody who is known, and may not do what it asks for. */
  #denied(tenant: string, why: string): Refused {
    this.#recorder.authentication({ tenant, why });
    return new Refused('permission_denied', why, 'ADM-1');
  }
}

/** The operator, or the user as whom it acts, with that user's authority. */
function operator(as: string): Actor {
  if (as === '' || as === 'operator')
    return { user: undefined, keyId: undefined, via: 'admin token' };
  const id = userOf(as);
  const problem = storedIdProblem(id);
  if (problem !== undefined)
    throw new Refused('invalid_argument', `postern-actor: ${problem}`, '', 'postern-actor');
  return { user: id, keyId: undefined, via: 'admin token' };
}

/** The user that the metadata names: `user:alice` or `alice`, percent-encoded because metadata is ASCII. */
function userOf(actor: string): string {
  try {
    return decodeURIComponent(actor.startsWith('user:') ? actor.slice(5) : actor);
  } catch {
    throw new Refused(
      'invalid_argument',
      `postern-actor: \`${printable(actor)}\` is not percent-encoded UTF-8: write % as %25`,
      '',
      'postern-actor',
    );
  }
}
