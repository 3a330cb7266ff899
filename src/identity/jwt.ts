/**
 * Bearer JWTs of configured issuers. What a token says of itself chooses among what is configured and nothing else:
 * `iss` the issuer, `kid` one of its keys; `jku`, `x5u`, `jwk` and their like are not looked at.
 */
import { hash } from 'node:crypto';
import {
  decodeJwt,
  decodeProtectedHeader,
  errors,
  jwtVerify,
  type JWTPayload,
  type JWTVerifyOptions,
  type ProtectedHeaderParameters,
} from 'jose';
import { LRUCache } from 'lru-cache';
import type { CredentialProblem } from '../engine/credential-problem.ts';
import { storedIdProblem } from '../engine/id.ts';
import type { MaybePromise } from '../util/later.ts';
import { issuerProblem, withDefaults, type FullIssuer, type Issuer } from './issuer.ts';
import { openKeys, type Keys, type KeySource } from './jwks.ts';

export { issuerProblem, type Issuer } from './issuer.ts';

export interface JwtOptions {
  readonly issuers: readonly Issuer[];
  /** Milliseconds since the epoch; never goes back. */
  readonly now: () => number;
  /** Keys of an issuer could not be read, or cannot be used. Never a token that is merely bad. */
  readonly onError: (error: unknown) => void;
  /** Told of every read of an issuer's keys that is over. */
  readonly onRead?: (ok: boolean) => void;
}

export interface JwtClaim {
  readonly tenant: string;
  readonly subject: { readonly type: 'user'; readonly id: string };
}

export interface JwtVerifier {
  /** Whom a token proves, at once where it was verified a short time ago, or why it proves nobody. */
  verify(token: string): MaybePromise<JwtClaim | NoClaim>;
  /** Whether the keys of all issuers are here that must be. */
  hasKeys(): boolean;
  /** The keys of every issuer were read once, well or not. */
  ready(): Promise<void>;
  close(): void;
}

export interface NoClaim {
  readonly unproven: CredentialProblem;
}

interface Trust {
  readonly issuer: FullIssuer;
  readonly source: KeySource;
  readonly options: JWTVerifyOptions;
  complainedAt: number;
}

/** A token that was verified. It holds while the issuer's keys are the same and not too old. */
interface Verified {
  readonly claim: JwtClaim;
  readonly source: KeySource;
  readonly keys: Keys;
  readonly until: number;
}

/** Longest token that is looked at, in characters. */
const MAX_TOKEN = 16_384;
const MAX_VERIFIED = 10_000;
/** How long a token is taken as verified, ms. */
const VERIFIED_MS = 60_000;
/** Least time between two complaints of unusable keys, ms: every token may make one. */
const COMPLAINT_MS = 60_000;
/** Types of tokens that say who calls. A logout token of the same issuer must not log in. */
const TYPES: ReadonlySet<string> = new Set(['jwt', 'at+jwt']);

/** @throws Error for issuers that are not usable: half a configuration must not start */
export function openJwt(options: JwtOptions): JwtVerifier {
  assertUsable(options.issuers);
  return new Verifier(options);
}

class Verifier implements JwtVerifier {
  readonly #now: () => number;
  readonly #onError: (error: unknown) => void;
  readonly #trusted: ReadonlyMap<string, Trust>;
  readonly #verified = new LRUCache<string, Verified>({
    maxSize: MAX_VERIFIED,
    sizeCalculation: () => 1,
  });

  constructor({ issuers, now, onError, onRead }: JwtOptions) {
    this.#now = now;
    this.#onError = onError;
    this.#trusted = new Map(
      issuers.map(withDefaults).map((issuer) => {
        const source = openKeys(issuer, now, { onError, onRead });
        const options = optionsOf(issuer);
        return [issuer.issuer, { issuer, source, options, complainedAt: -Infinity }];
      }),
    );
  }

  verify(token: string): MaybePromise<JwtClaim | NoClaim> {
    if (token.length > MAX_TOKEN) return { unproven: 'malformed' };
    const digest = hash('sha256', token, 'base64url');
    const found = this.#verified.get(digest);
    if (found !== undefined && this.#now() < found.until && found.source.current() === found.keys)
      return found.claim;
    const unverified = peek(token);
    if (unverified === undefined) return { unproven: 'malformed' };
    const trust = this.#trusted.get(unverified.issuer);
    if (trust === undefined) return { unproven: 'wrong_issuer' };
    if (!trust.issuer.algorithms.includes(unverified.header.alg ?? ''))
      return { unproven: 'wrong_algorithm' };
    return this.#verifyNew(token, unverified.header, trust, digest);
  }

  hasKeys(): boolean {
    return [...this.#trusted.values()].every(
      ({ issuer, source }) => issuer.required !== true || source.current() !== undefined,
    );
  }

  async ready(): Promise<void> {
    await Promise.all([...this.#trusted.values()].map(({ source }) => source.ready()));
  }

  close(): void {
    for (const { source } of this.#trusted.values()) source.close();
    this.#verified.clear();
  }

  async #verifyNew(
    token: string,
    header: ProtectedHeaderParameters,
    trust: Trust,
    digest: string,
  ): Promise<JwtClaim | NoClaim> {
    const { issuer, source, options } = trust;
    try {
      const found = await findKey(source, header);
      if (found === undefined) return { unproven: 'keys_unavailable' };
      const at = this.#now();
      const { key, keys } = found;
      const { payload } = await jwtVerify(token, key, { ...options, currentDate: new Date(at) });
      const claim = claimOf(payload, issuer);
      const until = Math.min(at + VERIFIED_MS, endOf(payload, issuer));
      if ('tenant' in claim) this.#verified.set(digest, { claim, source, keys, until });
      return claim;
    } catch (error) {
      // An error of jose is the token's fault; any other one is a key that cannot be used.
      if (!(error instanceof errors.JOSEError)) this.#complain(trust, error);
      return { unproven: problemOf(error) };
    }
  }

  #complain(trust: Trust, error: unknown): void {
    if (this.#now() - trust.complainedAt < COMPLAINT_MS) return;
    trust.complainedAt = this.#now();
    this.#onError(error);
  }
}

function assertUsable(issuers: readonly Issuer[]): void {
  const names = new Set<string>();
  for (const issuer of issuers) {
    const problem = names.has(issuer.issuer) ? 'is there twice: keep one' : issuerProblem(issuer);
    if (problem !== undefined) throw new Error(`issuer \`${issuer.issuer}\`: ${problem}`);
    names.add(issuer.issuer);
  }
}

function optionsOf(issuer: FullIssuer): JWTVerifyOptions {
  const { audience, algorithms, subject_claim, max_token_age_seconds } = issuer;
  return {
    issuer: issuer.issuer,
    audience: typeof audience === 'string' ? audience : [...audience],
    algorithms: [...algorithms],
    requiredClaims: ['exp', subject_claim],
    clockTolerance: issuer.clock_tolerance_seconds,
    ...(max_token_age_seconds === undefined ? {} : { maxTokenAge: max_token_age_seconds }),
  };
}

/** What a token says that nobody has proven: good for choosing what to verify it with. */
function peek(
  token: string,
): { readonly header: ProtectedHeaderParameters; readonly issuer: string } | undefined {
  try {
    const parts = token.split('.');
    // One spelling for each token.
    if (parts.some((part) => Buffer.from(part, 'base64url').toString('base64url') !== part))
      return undefined;
    const header = decodeProtectedHeader(token);
    const { iss } = decodeJwt(token);
    const type = typeof header.typ === 'string' ? header.typ.toLowerCase() : header.typ;
    if (type !== undefined && !TYPES.has(type.replace(/^application\//, ''))) return undefined;
    return parts.length === 3 && typeof iss === 'string' ? { header, issuer: iss } : undefined;
  } catch {
    return undefined;
  }
}

/**
 * The key that a token names. One that is not among the keys may be new: then they are read again.
 * @throws where several keys fit, or none does
 */
async function findKey(
  source: KeySource,
  header: ProtectedHeaderParameters,
): Promise<{ readonly key: Awaited<ReturnType<Keys>>; readonly keys: Keys } | undefined> {
  const keys = source.current() ?? (await source.newer());
  if (keys === undefined) return undefined;
  try {
    return { key: await keys(header), keys };
  } catch (error) {
    if (!(error instanceof errors.JWKSNoMatchingKey)) throw error;
    const newer = await source.newer();
    return newer === undefined ? undefined : { key: await newer(header), keys: newer };
  }
}

/** What jose found wrong with a token, in our words. */
function problemOf(error: unknown): CredentialProblem {
  if (error instanceof errors.JWTExpired) return 'expired';
  if (error instanceof errors.JWTClaimValidationFailed) {
    if (error.reason === 'missing') return 'claim_missing';
    if (error.reason === 'invalid') return 'claim_wrong_type';
    if (error.claim === 'aud') return 'wrong_audience';
    return error.claim === 'iss' ? 'wrong_issuer' : 'not_yet_valid';
  }
  if (error instanceof errors.JWSSignatureVerificationFailed) return 'bad_signature';
  if (error instanceof errors.JWSInvalid || error instanceof errors.JWTInvalid) return 'malformed';
  if (error instanceof errors.JOSEAlgNotAllowed || error instanceof errors.JOSENotSupported)
    return 'wrong_algorithm';
  // None fits, several do, or the one that fits cannot be used.
  return 'unknown_key';
}

function claimOf(payload: JWTPayload, issuer: FullIssuer): JwtClaim | NoClaim {
  const { subject_claim, tenant_claim } = issuer;
  const tenant = tenant_claim === undefined ? issuer.tenant : idIn(payload, tenant_claim);
  const id = idIn(payload, subject_claim);
  if (tenant !== undefined && id !== undefined) return { tenant, subject: { type: 'user', id } };
  const claim = id === undefined ? subject_claim : (tenant_claim ?? '');
  return { unproven: Object.hasOwn(payload, claim) ? 'claim_wrong_type' : 'claim_missing' };
}

function idIn(payload: JWTPayload, claim: string): string | undefined {
  const value = Object.hasOwn(payload, claim) ? payload[claim] : undefined;
  return typeof value === 'string' && storedIdProblem(value) === undefined ? value : undefined;
}

/** When a token that is good is no longer, ms since the epoch; the tolerance is left to a whole verification. */
function endOf({ exp = 0, iat = 0 }: JWTPayload, issuer: FullIssuer): number {
  const { max_token_age_seconds = Infinity } = issuer;
  return Math.min(exp, iat + max_token_age_seconds) * 1_000;
}
