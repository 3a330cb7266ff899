/** Error replies of Redis and errors of the library: what each means for a caller, and its remedy. */
import type { RedisAddress } from './address.ts';

/** A right is missing, for a command or for one inside a script. */
const NO_RIGHT = /^NOPERM|executing the script can't/;
/** A slot is on its way to another node: nothing was done, and the same command may succeed soon. */
const MOVING = /^(MOVED|ASK|TRYAGAIN|CLUSTERDOWN) /;
/** Errors that stay until an operator mends their cause. */
const PERMANENT =
  /^(NOAUTH|WRONGPASS|NOPERM)|executing the script can't|^ERR (AUTH|invalid password|This instance has cluster support disabled)/;
/** The user may not run scripts that only read, or the server has no such commands. */
const NO_READING_SCRIPTS = /^NOPERM .*'eval(sha)?_ro'|^ERR unknown command/i;

const REMEDIES: readonly (readonly [pattern: RegExp, remedy: string])[] = [
  [/^NOAUTH|^WRONGPASS|^ERR AUTH|^ERR invalid password/, 'check user and password of `store`'],
  [NO_RIGHT, 'give the user the rights listed in docs/redis.md, Rights'],
  [/^OOM/, 'Redis is full, and must not evict: raise its maxmemory'],
  [/^READONLY/, 'this is a replica: name the primary, or use redis-sentinel://'],
  [/^NOREPLICAS/, 'too few replicas follow the primary (min-replicas-to-write)'],
  [/^LOADING/, 'Redis is reading its file, and will answer soon'],
  [/^BUSY/, 'a script of somebody else runs for too long'],
  [/^MISCONF/, 'Redis cannot write its file: free its disk'],
  [/^CLUSTERDOWN/, 'a slot of the cluster has no primary'],
  [/^ERR This instance has cluster support disabled/, 'use redis:// instead of redis-cluster://'],
  [/^MOVED/, 'this is a node of a cluster: use redis-cluster://'],
  [/enableOfflineQueue/, 'there is no connection at the moment'],
];

/** The message of Redis or of the library, with the remedy where there is one. */
export function explain(message: string): string {
  const wrongType = typeProblem(message);
  if (wrongType !== undefined) return wrongType;
  const found = REMEDIES.find(([pattern]) => pattern.test(message));
  return found === undefined ? message : `${message}: ${found[1]}`;
}

/** A key of ours is of a type that we never make: our scripts look at types before they write, so that nothing is done. */
export function isWrongType(message: string): boolean {
  return message.includes('WRONGTYPE');
}

/** Our scripts name the key, commands of Redis itself do not. */
function typeProblem(message: string): string | undefined {
  if (!isWrongType(message)) return undefined;
  const [, key, is, wanted] = /WRONGTYPE (\S+) is a (\w+), not a (\w+)/.exec(message) ?? [];
  const what =
    key === undefined
      ? "a key is of another type than Postern's"
      : `the key \`${key}\` is a ${is}, and Postern's is a ${wanted}`;
  return `${what}: another program has written it: remove it, or set \`redis.key_prefix\` to one that nobody else has`;
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

export function isNoRight(message: string): boolean {
  return NO_RIGHT.test(message);
}

/** Waiting and trying again would not help. */
export function isPermanent(message: string, kind: RedisAddress['kind']): boolean {
  // A cluster moves its slots; of a single server MOVED says that it is a node of a cluster.
  return PERMANENT.test(message) || (kind !== 'cluster' && message.startsWith('MOVED '));
}

export function isMovingSlot(message: string): boolean {
  return MOVING.test(message);
}

export function isMissingScript(message: string): boolean {
  return message.startsWith('NOSCRIPT');
}

export function isNoReadingScripts(message: string): boolean {
  return NO_READING_SCRIPTS.test(message);
}

/** The script has failed on its way: it has ended, and may have written before. */
export function isFromScript(message: string): boolean {
  return message.includes('user_script');
}

/** Redis has refused before the script's first write, or nothing was sent: nothing was done, and nothing will be. */
export function isRefusal(message: string): boolean {
  if (message.includes('enableOfflineQueue')) return true;
  // Other errors inside a script may have come after a write.
  if (isFromScript(message)) return /(^|-)(OOM|READONLY|MISCONF|NOREPLICAS) /.test(message);
  return /^[A-Z]{3,} /.test(message);
}
