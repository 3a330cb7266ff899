/** Why a credential proves nobody: for logs and audit records. Callers get one answer for all of them. */
export const CREDENTIAL_PROBLEMS = [
  /** It cannot be read as a token of any kind. */
  'malformed',
  /** No record has the id that it names, or no issuer has its `iss`. */
  'unknown',
  /** Of an API key or session: the secret is another one. */
  'wrong_secret',
  'revoked',
  'expired',
  /** `nbf` or `iat` is still to come. */
  'not_yet_valid',
  'wrong_issuer',
  'wrong_audience',
  'wrong_algorithm',
  /** None of the issuer's keys has its `kid`, or several could have signed it. */
  'unknown_key',
  'bad_signature',
  /** A claim is not there that the issuer's settings, or a token as such, need. */
  'claim_missing',
  'claim_wrong_type',
  /** It is one of another tenant than the request's. */
  'wrong_tenant',
  /** It proves another subject than the request names. */
  'wrong_subject',
  /** Its user is suspended or deleted. */
  'inactive',
  /** The issuer's keys cannot be had now: nobody can tell. */
  'keys_unavailable',
  /** There is no credential where one is needed. */
  'missing',
] as const;

export type CredentialProblem = (typeof CREDENTIAL_PROBLEMS)[number];
