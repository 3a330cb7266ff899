/** Who a credential says somebody is, and whether what is stored agrees. */
import type { CredentialProblem } from '../engine/credential-problem.ts';
import type { Subject } from '../engine/model.ts';
import type { KeyRecord, UserRecord } from '../engine/records.ts';
import { later, type MaybePromise } from '../util/later.ts';
import type { JwtVerifier } from './jwt.ts';
import {
  isOwnToken,
  keyProblem,
  parseToken,
  provesKey,
  provesSession,
  sessionProblem,
  type Token,
} from './token.ts';

export type Credential =
  | { readonly apiKey: string }
  /** A JWT, or any token of ours: `Authorization: Bearer` carries all of them. */
  | { readonly bearerToken: string }
  | { readonly sessionToken: string };

/** What is stored under the names of a claim; `undefined`: nothing. */
export interface Evidence {
  readonly key: KeyRecord | undefined;
  readonly user: UserRecord | undefined;
}

/** A name for a key or a subject. It is nothing yet for a token of ours: the record has to prove it. */
export interface Claim {
  readonly tenant: string;
  /** For the log: `key k1`, `session s1` or `JWT`. */
  readonly via: string;
  readonly keyId?: string;
  readonly subject?: Subject;
  /** Whether the records of this tenant's key and user prove the claim, now. */
  proves(evidence: Evidence): boolean;
  /** Why they do not, where they do not; `undefined`: there is nothing wrong with the credential itself. */
  problemOf(evidence: Evidence): CredentialProblem | undefined;
}

/** A credential that names nobody, whatever is stored. */
export interface Unproven {
  readonly unproven: CredentialProblem;
}

export interface Identity {
  /** The claim of a credential, at once unless a JWT is new here. */
  identify(credential: Credential): MaybePromise<Claim | Unproven>;
}

export interface IdentityOptions {
  /** Absent: no JWT is accepted. */
  readonly jwt?: JwtVerifier | undefined;
  readonly now: () => number;
}

export function openIdentity({ jwt, now }: IdentityOptions): Identity {
  const own = (text: string, kind?: Token['kind']): Claim | Unproven => {
    const token = parseToken(text);
    return token === undefined || (kind !== undefined && token.kind !== kind)
      ? { unproven: 'malformed' }
      : claimOf(token, now);
  };
  return {
    identify(credential): MaybePromise<Claim | Unproven> {
      if ('apiKey' in credential) return own(credential.apiKey, 'key');
      if ('sessionToken' in credential) return own(credential.sessionToken, 'session');
      const { bearerToken } = credential;
      if (isOwnToken(bearerToken)) return own(bearerToken);
      if (jwt === undefined) return { unproven: 'wrong_issuer' };
      // The issuer has proven it; whether the user may act is the engine's to say (ACL-4).
      return later(jwt.verify(bearerToken), (claim) =>
        'unproven' in claim
          ? claim
          : { ...claim, via: 'JWT', proves: () => true, problemOf: () => 'unknown' },
      );
    },
  };
}

/** A record of another name proves nothing, whoever looked it up. */
function claimOf(token: Token, now: () => number): Claim {
  const { tenant, hash } = token;
  if (token.kind === 'key') {
    const { keyId } = token;
    const proves = ({ key }: Evidence): boolean =>
      provesKey(key?.id === keyId ? key : undefined, hash, now());
    const problemOf = ({ key }: Evidence): CredentialProblem | undefined =>
      keyProblem(key?.id === keyId ? key : undefined, hash, now());
    return { tenant, via: `key ${keyId}`, keyId, proves, problemOf };
  }
  const { user: id, sessionId } = token;
  const proves = ({ user }: Evidence): boolean =>
    provesSession(user?.id === id ? user : undefined, sessionId, hash, now());
  const problemOf = ({ user }: Evidence): CredentialProblem =>
    sessionProblem(user?.id === id ? user : undefined, sessionId, hash, now());
  return { tenant, via: `session ${sessionId}`, subject: { type: 'user', id }, proves, problemOf };
}
