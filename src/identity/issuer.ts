/** Issuers of JWTs that are trusted, as they are configured, and what must not be configured. */
import { idProblem } from '../engine/id.ts';

/** One issuer. Times are in the unit of their names. */
export interface Issuer {
  /** `iss`, compared byte for byte. */
  readonly issuer: string;
  /** `aud` must name it, or one of them. */
  readonly audience: string | readonly string[];
  /** Signature algorithms that are accepted; asymmetric ones only. */
  readonly algorithms: readonly string[];
  /** Exactly one of `jwks_url` and `jwks_file`: the keys are looked for nowhere else. */
  readonly jwks_url?: string | undefined;
  readonly jwks_file?: string | undefined;
  /** The claim that is the user's id; `sub`. */
  readonly subject_claim?: string | undefined;
  /** Exactly one of `tenant`, of all tokens of this issuer, and `tenant_claim`, which tells it. */
  readonly tenant?: string | undefined;
  readonly tenant_claim?: string | undefined;
  /** The last good keys are used so long while newer ones cannot be had; 86,400. */
  readonly max_age_seconds?: number | undefined;
  /** How often the keys are read again; 300. */
  readonly refresh_seconds?: number | undefined;
  /** Least time between two reads that an unknown `kid` or a failure asks for; 30. */
  readonly cooldown_seconds?: number | undefined;
  /** Time for a read of the keys; 5,000. */
  readonly timeout_ms?: number | undefined;
  /** How far the issuer's clock may be off; 30. */
  readonly clock_tolerance_seconds?: number | undefined;
  /** Tokens that were issued longer ago are refused, and those that do not say when. */
  readonly max_token_age_seconds?: number | undefined;
  /** The instance is not ready without its keys; false. */
  readonly required?: boolean | undefined;
}

const DEFAULTS = {
  subject_claim: 'sub',
  max_age_seconds: 86_400,
  refresh_seconds: 300,
  cooldown_seconds: 30,
  timeout_ms: 5_000,
  clock_tolerance_seconds: 30,
} as const;

/** An issuer with its defaults. */
export type FullIssuer = Issuer & {
  readonly [Name in keyof typeof DEFAULTS]: NonNullable<Issuer[Name]>;
};

/** No HS*: whoever can verify such a token can forge it. */
const ALGORITHMS: ReadonlySet<string> = new Set(
  'RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 ES512 EdDSA Ed25519'.split(' '),
);

/** Longest time that a timer takes, in seconds. */
const MAX_SECONDS = 2_147_483;

/** Least and most that each number may be. */
const RANGES = [
  ['max_age_seconds', 1, MAX_SECONDS],
  ['refresh_seconds', 1, MAX_SECONDS],
  ['cooldown_seconds', 1, MAX_SECONDS],
  ['timeout_ms', 1, 60_000],
  // More would keep alive what has expired.
  ['clock_tolerance_seconds', 0, 300],
  ['max_token_age_seconds', 1, MAX_SECONDS],
] as const;

export function withDefaults(issuer: Issuer): FullIssuer {
  const given = Object.entries(issuer).filter(([, value]) => value !== undefined);
  // What is given replaces the default of its name: it has the type of that field.
  return { ...DEFAULTS, ...Object.fromEntries(given) } as FullIssuer;
}

/** What is wrong with an issuer, naming the field, the value and the remedy; `undefined`: nothing. */
export function issuerProblem(issuer: Issuer): string | undefined {
  const { audience, algorithms, subject_claim, tenant_claim } = issuer;
  if (issuer.issuer === '') return 'issuer is empty: give the `iss` of its tokens';
  const audiences = typeof audience === 'string' ? [audience] : audience;
  if (audiences.length === 0 || audiences.includes(''))
    return 'audience is empty: give the `aud` that its tokens have for this service';
  if (algorithms.length === 0) return 'algorithms is empty: name those that the issuer signs with';
  const bad = algorithms.find((name) => !ALGORITHMS.has(name));
  if (bad !== undefined)
    return `algorithms: \`${bad}\` is not accepted: use some of ${[...ALGORITHMS].join(', ')}`;
  if (subject_claim === '') return 'subject_claim is empty: name a claim, or leave it out for sub';
  if (tenant_claim === '') return 'tenant_claim is empty: name a claim, or give a fixed tenant';
  return keysProblem(issuer) ?? tenantProblem(issuer) ?? numberProblem(withDefaults(issuer));
}

function keysProblem({ jwks_url: url, jwks_file: file }: Issuer): string | undefined {
  if ((url === undefined) === (file === undefined))
    return 'jwks_url and jwks_file: give exactly one of them';
  if (file === '') return 'jwks_file is empty: give the path of a JWKS file';
  if (url === undefined) return undefined;
  const parsed = URL.parse(url);
  if (parsed === null) return `jwks_url \`${url}\` is not a URL: give one with https://`;
  // The value is not shown: it has a secret.
  if (parsed.username !== '' || parsed.password !== '')
    return 'jwks_url has a user name or a password: leave them out';
  if (parsed.hash !== '') return `jwks_url \`${url}\` has a fragment: leave it out`;
  if (parsed.protocol === 'https:') return undefined;
  return parsed.protocol === 'http:' && isLoopback(parsed.hostname)
    ? undefined
    : `jwks_url \`${url}\` can be tampered with: use https, or http to a loopback address`;
}

/** Of a host name as `URL` writes it: IPv4 in four decimal parts, IPv6 in brackets. */
function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '[::1]' || /^127(\.\d{1,3}){3}$/.test(host);
}

function tenantProblem({ tenant, tenant_claim }: Issuer): string | undefined {
  if ((tenant === undefined) === (tenant_claim === undefined))
    return 'tenant and tenant_claim: give exactly one of them';
  const problem = tenant === undefined ? undefined : idProblem(tenant);
  return problem === undefined ? undefined : `tenant \`${tenant}\` ${problem}`;
}

function numberProblem(issuer: FullIssuer): string | undefined {
  for (const [name, least, most] of RANGES) {
    const value = issuer[name];
    if (value !== undefined && !(value >= least && value <= most))
      return `${name} \`${value}\` is out of range: give ${least} to ${most}`;
  }
  const { max_age_seconds: age, refresh_seconds: refresh } = issuer;
  return age < refresh
    ? `max_age_seconds \`${age}\` is below refresh_seconds \`${refresh}\`: keys would end between two reads`
    : undefined;
}
