/** Why a credential is invalid: for logs, audit records and the operator. Callers get one answer for all of them. */
export const CREDENTIAL_PROBLEMS = [
  /** It cannot be read as a token of any kind. */
  'malformed',
  /** No record has the id that it names, or no issuer has its `iss`. */
  'unknown',
  /** The secret of an API key or session does not match. */
  'wrong_secret',
  'revoked',
  'expired',
  /** `nbf` or `iat` is in the future. */
  'not_yet_valid',
  'wrong_issuer',
  'wrong_audience',
  'wrong_algorithm',
  /** None of the issuer's keys has its `kid`, or several could have signed it. */
  'unknown_key',
  'bad_signature',
  /** A claim is missing that the issuer's settings or every token require. */
  'claim_missing',
  'claim_wrong_type',
  /** It belongs to another tenant than the request. */
  'wrong_tenant',
  /** It authenticates another subject than the request names. */
  'wrong_subject',
  /** Its user is suspended or deleted. */
  'inactive',
  /** The issuer's keys cannot be read now, so the token cannot be verified. */
  'keys_unavailable',
  /** A required credential is missing. */
  'missing',
] as const;

export type CredentialProblem = (typeof CREDENTIAL_PROBLEMS)[number];

/** Sentences for people. */
const TEXT: Readonly<Record<CredentialProblem, string>> = {
  malformed: 'it cannot be read as a key, a session or a JWT',
  unknown: 'no key or session that can be used has the id that it names',
  wrong_secret: 'its secret is another one than that of the key or session',
  revoked: 'the key is revoked',
  expired: 'it has expired, or was issued too long ago',
  not_yet_valid: 'its `nbf` or `iat` is still to come',
  wrong_issuer: 'its `iss` is no issuer of `identity.jwt`',
  wrong_audience: 'its `aud` has none of the audiences of its issuer',
  wrong_algorithm: 'its `alg` is none of the algorithms of its issuer',
  unknown_key: 'its issuer has no key, or several, that could have signed it',
  bad_signature: 'its signature is not by the key that it names',
  claim_missing: 'a claim is missing that its issuer must set',
  claim_wrong_type: 'a claim has another type, or is no id',
  wrong_tenant: "it is one of another tenant than the request's",
  wrong_subject: 'it proves another subject than the request names',
  inactive: 'its user is suspended or deleted',
  keys_unavailable: 'the keys of its issuer cannot be had now',
  missing: 'there is none',
};

/** One sentence that says why a credential is invalid. */
export function credentialProblemText(problem: CredentialProblem): string {
  return `the credential proves nobody (${problem}): ${TEXT[problem]}`;
}
