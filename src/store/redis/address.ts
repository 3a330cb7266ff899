/** Where a Redis is, from the one line that names it: `redis://`, `rediss://`, `redis-sentinel://`, `redis-cluster://`. */

export interface RedisAddress {
  readonly kind: 'single' | 'sentinel' | 'cluster';
  /** The server, the sentinels, or some nodes of the cluster. */
  readonly hosts: readonly { readonly host: string; readonly port: number }[];
  /** Sentinel: the name that they know the primary by. */
  readonly primary: string;
  readonly db: number;
  readonly tls: boolean;
  readonly username: string | undefined;
  readonly password: string | undefined;
  readonly sentinelPassword: string | undefined;
}

const SCHEMES: Readonly<Record<string, readonly [kind: RedisAddress['kind'], tls: boolean]>> = {
  redis: ['single', false],
  rediss: ['single', true],
  'redis-sentinel': ['sentinel', false],
  'rediss-sentinel': ['sentinel', true],
  'redis-cluster': ['cluster', false],
  'rediss-cluster': ['cluster', true],
};
const FORM =
  'redis[s][-sentinel|-cluster]://[user:password@]host[:port][,host[:port]…][/db or primary]';
const SHAPE = /^([a-z-]+):\/\/(?:([^@/]*)@)?([^/?@]+)(?:\/([^?]*))?(?:\?(.*))?$/;

export function isRedisAddress(text: string): boolean {
  return Object.keys(SCHEMES).some((scheme) => text.startsWith(`${scheme}:`));
}

/** @throws Error that names what is wrong, never the password */
export function parseRedisAddress(text: string): RedisAddress {
  const [, name = '', credentials, hosts = '', path = '', query = ''] = SHAPE.exec(text) ?? [];
  const scheme = SCHEMES[name];
  if (scheme === undefined) throw wrong(text, `is not an address: write ${FORM}`);
  const [kind, tls] = scheme;
  const parameters = new URLSearchParams(query);
  for (const key of parameters.keys())
    if (key !== 'sentinel_password' && key !== 'db')
      throw wrong(text, 'has an unknown parameter: there are sentinel_password and db');
  const parsed = hosts.split(',').map((host) => parseHost(text, host, kind));
  if (kind === 'single' && parsed.length > 1)
    throw wrong(text, 'names several hosts: use redis-sentinel:// or redis-cluster://');
  if (kind === 'sentinel' && path === '')
    throw wrong(text, 'names no primary: write redis-sentinel://host:26379/mymaster');
  const dbText = kind === 'single' && path !== '' ? path : (parameters.get('db') ?? '0');
  if (!/^\d{1,5}$/.test(dbText)) throw wrong(text, 'has a db that is no number');
  if (kind === 'cluster' && (path !== '' || dbText !== '0'))
    throw wrong(text, 'names a db: a cluster has only db 0');
  const [username, password] = parseCredentials(text, credentials);
  return {
    kind,
    hosts: parsed,
    primary: kind === 'sentinel' ? decodeURIComponent(path) : '',
    db: Number(dbText),
    tls,
    username,
    password,
    sentinelPassword: parameters.get('sentinel_password') ?? undefined,
  };
}

/**
 * The address as it may be shown: who is asked, without what opens it. Whatever it is: what stands before the last
 * `@`, a plain user name aside, and every value of a parameter may be a secret.
 */
export function withoutSecrets(text: string): string {
  const [, scheme = '', rest = text] = /^(.*?:\/\/)([^]*)$/.exec(text) ?? [];
  const end = rest.lastIndexOf('@');
  const [address = '', ...query] = rest.slice(end + 1).split('?');
  const user = /^[A-Za-z0-9_.-]*(?=:)/.exec(rest.slice(0, Math.max(end, 0)))?.[0] ?? '';
  const shown = end < 0 ? '' : `${user}:***@`;
  return `${scheme}${shown}${address}${query.length > 0 ? '?***' : ''}`;
}

function parseHost(
  text: string,
  host: string,
  kind: RedisAddress['kind'],
): { readonly host: string; readonly port: number } {
  const [, six, four, port] =
    /^(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::(\d{1,5}))?$/.exec(host) ?? [];
  const name = six ?? four;
  const number = port === undefined ? (kind === 'sentinel' ? 26_379 : 6_379) : Number(port);
  if (name === undefined || number > 65_535 || number === 0)
    // Not named: of a password with a `/` or an `@` it may be a part.
    throw wrong(text, 'has a host that is not host or host:port; write `/` in a password as %2F');
  return { host: name, port: number };
}

function parseCredentials(
  text: string,
  credentials: string | undefined,
): readonly [username: string | undefined, password: string | undefined] {
  if (credentials === undefined) return [undefined, undefined];
  const at = credentials.indexOf(':');
  const [user, password] =
    at < 0 ? [credentials, undefined] : [credentials.slice(0, at), credentials.slice(at + 1)];
  try {
    return [
      user === '' ? undefined : decodeURIComponent(user),
      password === undefined ? undefined : decodeURIComponent(password),
    ];
  } catch {
    throw wrong(text, 'has credentials that are not percent-encoded: write % as %25, @ as %40');
  }
}

function wrong(text: string, problem: string): Error {
  return new Error(`store: \`${withoutSecrets(text)}\` ${problem}`);
}
